package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience is how long anything here may take; whatever takes longer has hung.
const patience = 60 * time.Second

// operatorRules are what the operator needs: a right too few and it does not work.
var operatorRules = map[string][]rbacv1.PolicyRule{
	fleets: {
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get", "list", "watch", "update", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"services/status"}, Verbs: []string{"update"}},
		// Who sets blockOwnerDeletion must be able to change the owner's finalizers.
		{APIGroups: []string{""}, Resources: []string{"services/finalizers"}, Verbs: []string{"update"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list", "watch", "create", "update"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}},
		{APIGroups: []string{"events.k8s.io", ""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	},
	elsewhere: {
		{APIGroups: []string{""}, Resources: []string{"configmaps", "services"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create", "patch", "delete"}},
	},
}

// bench is what the test works with.
type bench struct {
	ctx    context.Context
	client client.Client
	config *rest.Config
	folder string
	leads  chan string
	// conflicts are those that the operator's status updates met.
	conflicts atomic.Int32
	// replicas by name, while they run.
	replicas map[string]*exec.Cmd
}

func judge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS = -1
	direct, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "operator-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{ctx: ctx, client: direct, config: config, folder: folder, leads: make(chan string, 16), replicas: map[string]*exec.Cmd{}}
	defer b.end()
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"prepare", b.prepare},
		{"one-leads", b.oneLeads},
		{"reconcile", b.reconciles},
		{"index", b.indexLeadsToUsers},
		{"owned-comes-back", b.ownedComesBack},
		{"conflicts", b.conflictsAreRetried},
		{"takes-over", b.otherTakesOver},
		{"finalizer", b.finalizerCleansUp},
		{"steps-down", b.stepsDown},
	} {
		if err := step.run(); err != nil {
			return fmt.Errorf("FAILED %s: %w", step.name, err)
		}
		fmt.Println("ok", step.name)
	}
	return nil
}

func (b *bench) end() {
	for _, replica := range b.replicas {
		// The verdict is known; what is left of them does not matter.
		_ = replica.Process.Kill()
		_ = replica.Wait()
	}
}

func (b *bench) until(what string, holds func() (bool, error)) error {
	began := time.Now()
	for {
		so, err := holds()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if so {
			return nil
		}
		if time.Since(began) > patience {
			return fmt.Errorf("not within %v: %s", patience, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// prepare makes namespaces, the operator's account with its rights, and a kubeconfig with a token of it.
func (b *bench) prepare() error {
	for _, name := range []string{fleets, elsewhere} {
		if err := b.client.Create(b.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: fleets, Name: "operator"}}
	if err := b.client.Create(b.ctx, account); err != nil {
		return err
	}
	for namespace, rules := range operatorRules {
		named := metav1.ObjectMeta{Namespace: namespace, Name: "operator"}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: named,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operator"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: fleets, Name: "operator"}},
		}
		if err := errors.Join(b.client.Create(b.ctx, &rbacv1.Role{ObjectMeta: named, Rules: rules}), b.client.Create(b.ctx, binding)); err != nil {
			return err
		}
	}
	request := &authenticationv1.TokenRequest{}
	if err := b.client.SubResource("token").Create(b.ctx, account, request); err != nil {
		return err
	}
	kubeconfig := api.NewConfig()
	kubeconfig.Clusters["c"] = &api.Cluster{Server: b.config.Host, CertificateAuthorityData: b.config.CAData, CertificateAuthority: b.config.CAFile}
	kubeconfig.AuthInfos["u"] = &api.AuthInfo{Token: request.Status.Token}
	kubeconfig.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	kubeconfig.CurrentContext = "x"
	return clientcmd.WriteToFile(*kubeconfig, filepath.Join(b.folder, "kubeconfig"))
}

func (b *bench) start(name string) error {
	log, err := os.Create(filepath.Join(b.folder, name+".log"))
	if err != nil {
		return err
	}
	replica := exec.Command(os.Args[0], "manager", name)
	replica.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(b.folder, "kubeconfig"))
	replica.Stderr = log
	out, err := replica.StdoutPipe()
	if err != nil {
		return err
	}
	if err := replica.Start(); err != nil {
		return err
	}
	b.replicas[name] = replica
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if who, leads := strings.CutPrefix(lines.Text(), "leads "); leads {
				b.leads <- who
			}
			if lines.Text() == "conflict" {
				b.conflicts.Add(1)
			}
		}
	}()
	return nil
}

func (b *bench) next(want string) error {
	select {
	case who := <-b.leads:
		if who != want {
			return fmt.Errorf("%s leads and not %s", who, want)
		}
		return nil
	case <-time.After(patience):
		text, _ := os.ReadFile(filepath.Join(b.folder, want+".log"))
		return fmt.Errorf("%s does not lead:\n%s", want, text)
	}
}

// oneLeads starts two replicas; the second waits.
func (b *bench) oneLeads() error {
	if err := errors.Join(b.start("first"), b.next("first"), b.start("second")); err != nil {
		return err
	}
	var lease coordinationv1.Lease
	key := types.NamespacedName{Namespace: fleets, Name: "operator.example.org"}
	if err := b.client.Get(b.ctx, key, &lease); err != nil {
		return err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return fmt.Errorf("nobody holds the lease: %+v", lease.Spec)
	}
	return nil
}

func (b *bench) service(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: fleets, Name: name, Annotations: map[string]string{settings: "made-by"}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func (b *bench) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: fleets, Name: name}
}

// deployed waits until a fleet runs an image and says so.
func (b *bench) deployed(name, image string) error {
	return b.until(name+" is deployed with "+image, func() (bool, error) {
		var deployment appsv1.Deployment
		var service corev1.Service
		var record corev1.ConfigMap
		err := errors.Join(
			client.IgnoreNotFound(b.client.Get(b.ctx, b.key(name), &deployment)),
			client.IgnoreNotFound(b.client.Get(b.ctx, types.NamespacedName{Namespace: elsewhere, Name: name}, &record)),
			b.client.Get(b.ctx, b.key(name), &service))
		if err != nil || len(deployment.Spec.Template.Spec.Containers) == 0 {
			return false, err
		}
		told := meta.FindStatusCondition(service.Status.Conditions, "Deployed")
		owner := metav1.GetControllerOf(&deployment)
		return deployment.Spec.Template.Spec.Containers[0].Image == image && told != nil && told.Message == image &&
			record.Data["image"] == image && owner != nil && owner.UID == service.UID, nil
	})
}

func (b *bench) reconciles() error {
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: fleets, Name: "made-by"}, Data: map[string]string{"image": "app:1"}}
	if err := errors.Join(b.client.Create(b.ctx, made), b.client.Create(b.ctx, b.service("one")), b.client.Create(b.ctx, b.service("two"))); err != nil {
		return err
	}
	return errors.Join(b.deployed("one", "app:1"), b.deployed("two", "app:1"))
}

func (b *bench) setImage(image string) error {
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: fleets, Name: "made-by"}}
	return b.client.Patch(b.ctx, made, client.RawPatch(types.MergePatchType, []byte(`{"data":{"image":"`+image+`"}}`)))
}

func (b *bench) indexLeadsToUsers() error {
	return errors.Join(b.setImage("app:2"), b.deployed("one", "app:2"), b.deployed("two", "app:2"))
}

// ownedComesBack deletes what the operator owns.
func (b *bench) ownedComesBack() error {
	var before, after appsv1.Deployment
	if err := b.client.Get(b.ctx, b.key("one"), &before); err != nil {
		return err
	}
	if err := b.client.Delete(b.ctx, &before); err != nil {
		return err
	}
	return b.until("the deployment is there again", func() (bool, error) {
		err := b.client.Get(b.ctx, b.key("one"), &after)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return after.UID != before.UID, err
	})
}

// conflictsAreRetried writes the Services all the time while the operator writes their status.
func (b *bench) conflictsAreRetried() error {
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() {
		for number := 0; ctx.Err() == nil; number++ {
			for _, name := range []string{"one", "two"} {
				patch := fmt.Sprintf(`{"metadata":{"labels":{"busy":"%d"}}}`, number)
				if err := b.client.Patch(b.ctx, b.service(name), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
					ended <- err
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		ended <- nil
	}()
	var failed error
	for number := 3; number < 8 && failed == nil; number++ {
		image := fmt.Sprintf("app:%d", number)
		failed = errors.Join(b.setImage(image), b.deployed("one", image), b.deployed("two", image))
	}
	cancel()
	if b.conflicts.Load() == 0 {
		failed = errors.Join(failed, errors.New("no status update met a conflict: this check shows nothing"))
	}
	return errors.Join(failed, <-ended)
}

// otherTakesOver kills the leader; what happened meanwhile is made good.
func (b *bench) otherTakesOver() error {
	leader := b.replicas["first"]
	delete(b.replicas, "first")
	if err := leader.Process.Kill(); err != nil {
		return err
	}
	_ = leader.Wait()
	return errors.Join(b.client.Create(b.ctx, b.service("three")), b.next("second"), b.deployed("three", "app:7"))
}

// finalizerCleansUp deletes a Service: what is elsewhere goes by the operator, the deployment by the garbage collector.
func (b *bench) finalizerCleansUp() error {
	if err := b.client.Delete(b.ctx, b.service("three")); err != nil {
		return err
	}
	for _, object := range []client.Object{b.service("three"),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "three"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: fleets, Name: "three"}}} {
		err := b.until(fmt.Sprintf("%T is gone", object), func() (bool, error) {
			err := b.client.Get(b.ctx, client.ObjectKeyFromObject(object), object)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stepsDown takes the right to the lease away: the leader ends by itself.
func (b *bench) stepsDown() error {
	var role rbacv1.Role
	if err := b.client.Get(b.ctx, b.key("operator"), &role); err != nil {
		return err
	}
	kept := role.Rules[:0]
	for _, rule := range role.Rules {
		if rule.APIGroups[0] != "coordination.k8s.io" {
			kept = append(kept, rule)
		}
	}
	role.Rules = kept
	if err := b.client.Update(b.ctx, &role); err != nil {
		return err
	}
	leader := b.replicas["second"]
	ended := make(chan error, 1)
	go func() { ended <- leader.Wait() }()
	select {
	case err := <-ended:
		delete(b.replicas, "second")
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return fmt.Errorf("the leader ended with %v", err)
		}
		text, err := os.ReadFile(filepath.Join(b.folder, "second.log"))
		if err == nil && !strings.Contains(string(text), "leader election lost") {
			err = fmt.Errorf("the leader's last words: %s", text)
		}
		return err
	case <-time.After(patience):
		return errors.New("the leader goes on without its lease")
	}
}
