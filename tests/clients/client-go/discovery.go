package main

import (
	"fmt"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/restmapper"
)

// discoveryAgrees compares the aggregated documents with those of each group, and looks for what must be there.
func discoveryAgrees(w *world) error {
	version, err := w.typed.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	if err := equal("the version served", version.Major+"."+version.Minor, "1.36"); err != nil {
		return err
	}
	names := func(legacy bool) (string, error) {
		client, err := discovery.NewDiscoveryClientForConfig(w.json)
		if err != nil {
			return "", err
		}
		client.UseLegacyDiscovery = legacy
		_, lists, err := client.ServerGroupsAndResources()
		if err != nil {
			return "", err
		}
		var rows []string
		for _, list := range lists {
			for _, one := range list.APIResources {
				sort.Strings(one.Verbs)
				if strings.Contains(one.Name, "/") {
					// The client makes it up when it reads the aggregated document.
					one.SingularName = ""
				}
				rows = append(rows, fmt.Sprint(list.GroupVersion, " ", one.Name, " ", one.Kind, " ", one.Namespaced, " ",
					one.SingularName, " ", one.ShortNames, " ", one.Categories, " ", one.Verbs))
			}
		}
		sort.Strings(rows)
		return strings.Join(rows, "\n"), nil
	}
	aggregated, err := names(false)
	if err != nil {
		return err
	}
	legacy, err := names(true)
	if err != nil {
		return err
	}
	if err := equal("aggregated and plain discovery", aggregated, legacy); err != nil {
		return err
	}
	for _, row := range []string{
		"apps/v1 deployments Deployment true deployment [deploy] [all] [create delete deletecollection get list patch update watch]",
		"apps/v1 deployments/scale Scale true  [] [] [get patch update]",
		"v1 pods/eviction Eviction true  [] [] [create]",
		"v1 namespaces Namespace false namespace [ns] [] [create delete get list patch update watch]",
	} {
		if !strings.Contains("\n"+aggregated+"\n", "\n"+row+"\n") {
			return fmt.Errorf("discovery lacks %q", row)
		}
	}
	preferred, err := w.typed.Discovery().ServerPreferredResources()
	if err != nil {
		return err
	}
	for _, list := range preferred {
		if list.GroupVersion == "autoscaling/v1" && len(list.APIResources) > 0 {
			return fmt.Errorf("autoscaling/v1 is preferred with %v", list.APIResources)
		}
	}
	return nil
}

// openAPIIsRead reads both documents the way kubectl and controllers do.
func openAPIIsRead(w *world) error {
	document, err := w.typed.Discovery().OpenAPISchema()
	if err != nil {
		return err
	}
	found := false
	for _, definition := range document.GetDefinitions().GetAdditionalProperties() {
		found = found || definition.GetName() == "io.k8s.api.apps.v1.Deployment"
	}
	if !found {
		return fmt.Errorf("the v2 document has no Deployment among %d definitions",
			len(document.GetDefinitions().GetAdditionalProperties()))
	}
	paths, err := openapi.NewClient(w.typed.RESTClient()).Paths()
	if err != nil {
		return err
	}
	for _, path := range []string{"api/v1", "apis/apps/v1", "apis/batch/v1", "apis/networking.k8s.io/v1"} {
		group, there := paths[path]
		if !there {
			return fmt.Errorf("no v3 document of %s", path)
		}
		text, err := group.Schema("application/json")
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !strings.Contains(string(text), "x-kubernetes-group-version-kind") {
			return fmt.Errorf("the v3 document of %s names no kind", path)
		}
	}
	return nil
}

// mapperFinds maps kinds, resources and short names.
func mapperFinds(w *world) error {
	cached := memory.NewMemCacheClient(w.typed.Discovery())
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	if err != nil {
		return err
	}
	if err := equal("Deployment's resource", mapping.Resource.String(), "apps/v1, Resource=deployments"); err != nil {
		return err
	}
	mapping, err = mapper.RESTMapping(schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"})
	if err != nil {
		return err
	}
	if err := equal("the preferred autoscaling version", mapping.Resource.Version, "v2"); err != nil {
		return err
	}
	mapping, err = mapper.RESTMapping(schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"})
	if err != nil {
		return err
	}
	if err := equal("ClusterRole's scope", string(mapping.Scope.Name()), "root"); err != nil {
		return err
	}
	short := restmapper.NewShortcutExpander(mapper, cached, nil)
	for word, want := range map[string]string{
		"deploy": "apps/v1, Resource=deployments", "cm": "/v1, Resource=configmaps",
		"pdb": "policy/v1, Resource=poddisruptionbudgets", "netpol": "networking.k8s.io/v1, Resource=networkpolicies",
		"csr": "certificates.k8s.io/v1, Resource=certificatesigningrequests",
	} {
		resource, err := short.ResourceFor(schema.GroupVersionResource{Resource: word})
		if err != nil {
			return err
		}
		if err := equal(word, resource.String(), want); err != nil {
			return err
		}
	}
	_, err = mapper.RESTMapping(schema.GroupKind{Group: "example.org", Kind: "Thing"})
	if err == nil {
		return fmt.Errorf("a kind nobody serves has a mapping")
	}
	return nil
}
