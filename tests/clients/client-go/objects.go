package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name:  "app",
					Image: "registry.example/app:1",
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("100m"),
					}},
				}}},
			},
		},
	}
}

// crud makes, reads, changes and deletes a Deployment and compares what protobuf and JSON tell of it.
func crud(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	created, err := client.Create(w.ctx, deployment("web", 0), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if created.UID == "" || created.ResourceVersion == "" || created.CreationTimestamp.IsZero() {
		return fmt.Errorf("a created object lacks its metadata: %+v", created.ObjectMeta)
	}
	if err := equal("the defaulted strategy", created.Spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType); err != nil {
		return err
	}
	if err := sameInBoth(w, created.Name); err != nil {
		return err
	}
	generation := created.Generation
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := client.Get(w.ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Spec.Template.Spec.Containers[0].Image = "registry.example/app:2"
		current, err = client.Update(w.ctx, current, metav1.UpdateOptions{})
		if err == nil {
			generation = current.Generation
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := equal("the generation after a change", generation, created.Generation+1); err != nil {
		return err
	}
	err = w.until("the controller has observed it", func() (bool, error) {
		current, err := client.Get(w.ctx, "web", metav1.GetOptions{})
		return err == nil && current.Status.ObservedGeneration == generation, err
	})
	if err != nil {
		return err
	}
	dry, err := client.Create(w.ctx, deployment("dry", 1), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if _, err := client.Get(w.ctx, dry.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("a dry run leaves something behind: %v", err)
	}
	return deleteAll(w)
}

// sameInBoth compares an object read as protobuf with the same revision of it read as JSON.
func sameInBoth(w *world, name string) error {
	other, err := kubernetes.NewForConfig(w.json)
	if err != nil {
		return err
	}
	return w.until("both encodings tell the same", func() (bool, error) {
		one, err := w.typed.AppsV1().Deployments(w.namespace).Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		two, err := other.AppsV1().Deployments(w.namespace).Get(w.ctx, name, metav1.GetOptions{})
		if err != nil || one.ResourceVersion != two.ResourceVersion {
			return false, err
		}
		if !equality.Semantic.DeepEqual(one, two) {
			return false, fmt.Errorf("protobuf %+v\nJSON %+v", one, two)
		}
		return true, nil
	})
}

func deleteAll(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	selected := metav1.ListOptions{LabelSelector: "app in (web, other)"}
	if err := client.DeleteCollection(w.ctx, metav1.DeleteOptions{}, selected); err != nil {
		return err
	}
	return w.until("the collection is deleted", func() (bool, error) {
		list, err := client.List(w.ctx, selected)
		return err == nil && len(list.Items) == 0, err
	})
}

// errorsAreTyped provokes each error that callers tell apart.
func errorsAreTyped(w *world) error {
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	first, err := client.Create(w.ctx, configMap("one", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, exists := client.Create(w.ctx, configMap("one", nil), metav1.CreateOptions{})
	_, missing := client.Get(w.ctx, "two", metav1.GetOptions{})
	_, invalid := client.Create(w.ctx, configMap("Not_A_Name", nil), metav1.CreateOptions{})
	changed := first.DeepCopy()
	changed.Data = map[string]string{"k": "v"}
	if _, err := client.Update(w.ctx, changed, metav1.UpdateOptions{}); err != nil {
		return err
	}
	changed.Data["k"] = "w"
	_, conflict := client.Update(w.ctx, changed, metav1.UpdateOptions{})
	stranger := types.UID("00000000-0000-0000-0000-000000000000")
	precondition := client.Delete(w.ctx, "one", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &stranger}})
	_, nowhere := w.typed.CoreV1().ConfigMaps("no-such-namespace").Create(w.ctx, configMap("one", nil), metav1.CreateOptions{})
	_, unserved := w.dynamic.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "things"}).
		List(w.ctx, metav1.ListOptions{})
	_, large := client.Create(w.ctx, configMap("large", map[string]string{"k": strings.Repeat("x", 1<<20+1)}), metav1.CreateOptions{})
	for _, row := range []struct {
		what string
		err  error
		is   func(error) bool
		text string
	}{
		{"exists", exists, apierrors.IsAlreadyExists, `configmaps "one" already exists`},
		{"missing", missing, apierrors.IsNotFound, `configmaps "two" not found`},
		{"invalid", invalid, apierrors.IsInvalid, `ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: "Not_A_Name": `},
		{"conflict", conflict, apierrors.IsConflict, `Operation cannot be fulfilled on configmaps "one": the object has been modified; please apply your changes to the latest version and try again`},
		{"precondition", precondition, apierrors.IsConflict, `Operation cannot be fulfilled on ConfigMap "one": the UID in the precondition (00000000-0000-0000-0000-000000000000) does not match the UID in record (` + string(first.UID) + `). The object might have been deleted and then recreated`},
		{"nowhere", nowhere, apierrors.IsNotFound, `namespaces "no-such-namespace" not found`},
		{"unserved", unserved, apierrors.IsNotFound, `the server could not find the requested resource`},
		{"large", large, apierrors.IsInvalid, `ConfigMap "large" is invalid: []: Too long: may not be more than 1048576 bytes`},
	} {
		if !row.is(row.err) || !strings.Contains(row.err.Error(), row.text) {
			return fmt.Errorf("%s: got %v, want %q", row.what, row.err, row.text)
		}
	}
	cause, has := apierrors.StatusCause(invalid, metav1.CauseTypeFieldValueInvalid)
	if !has || cause.Field != "metadata.name" {
		return fmt.Errorf("an invalid name's cause is %+v", cause)
	}
	return nil
}

// patches sends each kind of patch and those that must be refused.
func patches(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	if _, err := client.Create(w.ctx, deployment("web", 0), metav1.CreateOptions{}); err != nil {
		return err
	}
	containers := func(kind types.PatchType, patch string) (string, error) {
		patched, err := client.Patch(w.ctx, "web", kind, []byte(patch), metav1.PatchOptions{FieldManager: "patcher"})
		if err != nil {
			return "", err
		}
		var shown []string
		for _, one := range patched.Spec.Template.Spec.Containers {
			shown = append(shown, one.Name+"="+one.Image)
		}
		return strings.Join(shown, " "), nil
	}
	for _, row := range []struct {
		kind        types.PatchType
		patch, want string
	}{
		{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s:1"}]}}}}`, "side=s:1 app=registry.example/app:1"},
		{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}`, "app=registry.example/app:1"},
		{types.JSONPatchType, `[{"op":"test","path":"/spec/template/spec/containers/0/name","value":"app"},{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"app:2"}]`, "app=app:2"},
		{types.MergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"o:1"}]}}}}`, "only=o:1"},
	} {
		got, err := containers(row.kind, row.patch)
		if err != nil {
			return fmt.Errorf("%s %s: %w", row.kind, row.patch, err)
		}
		if err := equal(row.patch, got, row.want); err != nil {
			return err
		}
	}
	_, failed := containers(types.JSONPatchType, `[{"op":"test","path":"/spec/replicas","value":7}]`)
	if !apierrors.IsInvalid(failed) {
		return fmt.Errorf("a failed test operation gives %v", failed)
	}
	_, broken := containers(types.MergePatchType, `{"spec":{"replicas":"seven"}}`)
	if broken == nil {
		return fmt.Errorf("a number that is a string is taken")
	}
	status, err := client.Patch(w.ctx, "web", types.MergePatchType,
		[]byte(`{"spec":{"paused":true},"status":{"collisionCount":3}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	if status.Spec.Paused || status.Status.CollisionCount == nil || *status.Status.CollisionCount != 3 {
		return fmt.Errorf("a status patch gives paused %v, collisions %v", status.Spec.Paused, status.Status.CollisionCount)
	}
	return nil
}

func applied(replicas int32, image string) *appsapply.DeploymentApplyConfiguration {
	labels := map[string]string{"app": "web"}
	return appsapply.Deployment("web", "").WithSpec(appsapply.DeploymentSpec().
		WithReplicas(replicas).
		WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().
			WithContainers(coreapply.Container().WithName("app").WithImage(image)))))
}

func inNamespace(namespace string, given *appsapply.DeploymentApplyConfiguration) *appsapply.DeploymentApplyConfiguration {
	return given.WithNamespace(namespace)
}

// serverSideApply has two owners in conflict, forces one, and gives a field up.
func serverSideApply(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	one := metav1.ApplyOptions{FieldManager: "one"}
	first, err := client.Apply(w.ctx, inNamespace(w.namespace, applied(0, "app:1")), one)
	if err != nil {
		return err
	}
	again, err := client.Apply(w.ctx, inNamespace(w.namespace, applied(0, "app:1")), one)
	if err != nil {
		return err
	}
	if err := equal("the generation after the same apply", again.Generation, first.Generation); err != nil {
		return err
	}
	other := appsapply.Deployment("web", w.namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(2))
	_, conflict := client.Apply(w.ctx, other, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(conflict) {
		return fmt.Errorf("the second owner of replicas gets %v", conflict)
	}
	cause, has := apierrors.StatusCause(conflict, metav1.CauseTypeFieldManagerConflict)
	if !has || cause.Field != ".spec.replicas" || cause.Message != `conflict with "one"` {
		return fmt.Errorf("the conflict's cause is %+v", cause)
	}
	if _, err := client.Apply(w.ctx, other, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		return err
	}
	// The first owner lost replicas; without it in its configuration, nothing of it is disputed.
	mine := inNamespace(w.namespace, applied(0, "app:2"))
	mine.Spec.Replicas = nil
	after, err := client.Apply(w.ctx, mine, one)
	if err != nil {
		return err
	}
	if *after.Spec.Replicas != 2 || after.Spec.Template.Spec.Containers[0].Image != "app:2" {
		return fmt.Errorf("after both applies: %d replicas of %s", *after.Spec.Replicas, after.Spec.Template.Spec.Containers[0].Image)
	}
	status := appsapply.Deployment("web", w.namespace).WithStatus(appsapply.DeploymentStatus().WithConditions(
		appsapply.DeploymentCondition().WithType("Tested").WithStatus(corev1.ConditionTrue).WithReason("Test").
			WithLastUpdateTime(metav1.Now()).WithLastTransitionTime(metav1.Now())))
	told, err := client.ApplyStatus(w.ctx, status, metav1.ApplyOptions{FieldManager: "teller", Force: true})
	if err != nil {
		return err
	}
	for _, entry := range told.ManagedFields {
		if entry.Manager == "teller" && entry.Subresource == "status" && entry.Operation == metav1.ManagedFieldsOperationApply {
			return nil
		}
	}
	return fmt.Errorf("nobody is recorded for the status: %+v", told.ManagedFields)
}

// applyExtracts reads back what a manager owns and applies a change of it.
func applyExtracts(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	want := inNamespace(w.namespace, applied(0, "app:1"))
	live, err := client.Apply(w.ctx, want, metav1.ApplyOptions{FieldManager: "owner"})
	if err != nil {
		return err
	}
	extracted, err := appsapply.ExtractDeployment(live, "owner")
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(extracted, want) {
		one, _ := json.Marshal(extracted)
		two, _ := json.Marshal(want)
		return fmt.Errorf("extracted %s\napplied   %s", one, two)
	}
	extracted.Spec.Template.Spec.Containers[0].WithEnv(coreapply.EnvVar().WithName("K").WithValue("v"))
	live, err = client.Apply(w.ctx, extracted, metav1.ApplyOptions{FieldManager: "owner"})
	if err != nil {
		return err
	}
	return equal("environment variables", len(live.Spec.Template.Spec.Containers[0].Env), 1)
}

// dynamicJSON works with objects whose types are not compiled in.
func dynamicJSON(w *world) error {
	client := w.dynamic.Resource(deployments).Namespace(w.namespace)
	typed := deployment("other", 1)
	typed.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	text, err := json.Marshal(typed)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return err
	}
	created, err := client.Create(w.ctx, object, metav1.CreateOptions{FieldManager: "maker"})
	if err != nil {
		return err
	}
	if err := equal("the kind", created.GetKind(), "Deployment"); err != nil {
		return err
	}
	patch := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "other", "annotations": map[string]any{"note": "applied"}},
	}}
	live, err := client.Apply(w.ctx, "other", patch, metav1.ApplyOptions{FieldManager: "annotator"})
	if err != nil {
		return err
	}
	if err := equal("the annotation", live.GetAnnotations()["note"], "applied"); err != nil {
		return err
	}
	list, err := client.List(w.ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if err := equal("what a list says of itself", list.GetAPIVersion()+" "+list.GetKind(), "apps/v1 DeploymentList"); err != nil {
		return err
	}
	for _, item := range list.Items {
		if item.GetKind() != "Deployment" || item.GetAPIVersion() != "apps/v1" {
			return fmt.Errorf("an item of a list is %q %q", item.GetAPIVersion(), item.GetKind())
		}
	}
	// A field nobody knows is refused when it is asked for, with its path.
	_ = unstructured.SetNestedField(object.Object, "x", "spec", "template", "spec", "colour")
	object.SetName("strict")
	_, strict := client.Create(w.ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if !apierrors.IsBadRequest(strict) || !strings.Contains(strict.Error(), `unknown field "spec.template.spec.colour"`) {
		return fmt.Errorf("an unknown field in strict mode gives %v", strict)
	}
	return nil
}

// metadataOnly reads and patches objects through their metadata.
func metadataOnly(w *world) error {
	if _, err := w.typed.CoreV1().ConfigMaps(w.namespace).Create(w.ctx, configMap("one", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	client := w.metadata.Resource(configMaps).Namespace(w.namespace)
	list, err := client.List(w.ctx, metav1.ListOptions{LabelSelector: "app=test"})
	if err != nil {
		return err
	}
	if err := equal("objects listed", len(list.Items), 1); err != nil {
		return err
	}
	patched, err := client.Patch(w.ctx, "one", types.MergePatchType, []byte(`{"metadata":{"labels":{"more":"yes"}}}`), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	if err := equal("the label", patched.Labels["more"], "yes"); err != nil {
		return err
	}
	watching, err := client.Watch(w.ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, LabelSelector: "app=test"})
	if err != nil {
		return err
	}
	defer watching.Stop()
	event, open := <-watching.ResultChan()
	if !open {
		return fmt.Errorf("the watch of metadata ends")
	}
	seen, is := event.Object.(*metav1.PartialObjectMetadata)
	if !is {
		return fmt.Errorf("the watch of metadata gives %s %T", event.Type, event.Object)
	}
	return equal("the revision watched", seen.ResourceVersion, patched.ResourceVersion)
}

// collector keeps the warnings that answers carry.
type collector struct {
	lock  sync.Mutex
	texts []string
}

func (c *collector) HandleWarningHeader(code int, _ string, text string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.texts = append(c.texts, fmt.Sprint(code, " ", text))
}

func warningsReachTheHandler(w *world) error {
	config, heard := rest.CopyConfig(w.json), &collector{}
	config.WarningHandler = heard
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "odd"}, "dta": map[string]any{"k": "v"},
	}}
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationWarn}
	if _, err := client.Resource(configMaps).Namespace(w.namespace).Create(w.ctx, object, options); err != nil {
		return err
	}
	if err := equal("warnings", strings.Join(heard.texts, "; "), `299 unknown field "dta"`); err != nil {
		return err
	}
	// What is gone from the API is 404 and not a hang, over plain HTTP too.
	plain, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	plain.Timeout = 10 * time.Second
	answer, err := plain.Get(config.Host + "/apis/extensions/v1beta1/ingresses")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return equal("an API of old times", answer.StatusCode, http.StatusNotFound)
}
