package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	applyautoscaling "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/util/retry"
)

// scaleEveryWay changes replicas through the typed client, by apply, and with the client that knows any kind.
func scaleEveryWay(w *world) error {
	client := w.typed.AppsV1().Deployments(w.namespace)
	if _, err := client.Create(w.ctx, deployment("web", 0), metav1.CreateOptions{}); err != nil {
		return err
	}
	// The controller writes the Deployment's status meanwhile.
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := client.GetScale(w.ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := equal("the selector", current.Status.Selector, "app=web"); err != nil {
			return err
		}
		current.Spec.Replicas = 1
		_, err = client.UpdateScale(w.ctx, "web", current, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	wanted := applyautoscaling.Scale().WithSpec(applyautoscaling.ScaleSpec().WithReplicas(2))
	if _, err := client.ApplyScale(w.ctx, "web", wanted, metav1.ApplyOptions{FieldManager: "scaler", Force: true}); err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.typed.Discovery()))
	resolver := scale.NewDiscoveryScaleKindResolver(w.typed.Discovery())
	any, err := scale.NewForConfig(w.json, mapper, dynamic.LegacyAPIPathResolverFunc, resolver)
	if err != nil {
		return err
	}
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	seen, err := any.Scales(w.namespace).Get(w.ctx, resource, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := equal("replicas by apply", seen.Spec.Replicas, 2); err != nil {
		return err
	}
	_, err = any.Scales(w.namespace).Patch(w.ctx, deployments, "web", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	negative := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: w.namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: -1}}
	_, refused := client.UpdateScale(w.ctx, "web", negative, metav1.UpdateOptions{})
	if !apierrors.IsInvalid(refused) {
		return fmt.Errorf("-1 replicas give %v", refused)
	}
	final, err := client.Get(w.ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return equal("replicas in the end", *final.Spec.Replicas, 0)
}

// evictionRespectsBudgets evicts a pod that a budget protects, and again when it no longer does.
func evictionRespectsBudgets(w *world) error {
	pods, budgets := w.typed.CoreV1().Pods(w.namespace), w.typed.PolicyV1().PodDisruptionBudgets(w.namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "guarded", Labels: map[string]string{"app": "guarded"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
	}
	var err error
	err = w.until("the namespace has its account", func() (bool, error) {
		pod, err = pods.Create(w.ctx, pod, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			pod = pod.DeepCopy()
			pod.Name, pod.Labels = "guarded", map[string]string{"app": "guarded"}
			pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	running := `{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
	if _, err := pods.Patch(w.ctx, "guarded", types.StrategicMergePatchType, []byte(running), metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	least := intstr.FromInt32(1)
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: &least, Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
		},
	}
	if _, err := budgets.Create(w.ctx, budget, metav1.CreateOptions{}); err != nil {
		return err
	}
	healthy := func(allowed int32) func() (bool, error) {
		return func() (bool, error) {
			now, err := budgets.Get(w.ctx, "guard", metav1.GetOptions{})
			return err == nil && now.Status.ObservedGeneration == now.Generation && now.Status.CurrentHealthy == 1 && now.Status.DisruptionsAllowed == allowed, err
		}
	}
	if err := w.until("the budget counts its pod", healthy(0)); err != nil {
		return err
	}
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "guarded", Namespace: w.namespace}}
	refused := pods.EvictV1(w.ctx, eviction)
	if !apierrors.IsTooManyRequests(refused) || !apierrors.HasStatusCause(refused, policyv1.DisruptionBudgetCause) {
		return fmt.Errorf("an eviction against the budget gives %v", refused)
	}
	if _, err := budgets.Patch(w.ctx, "guard", types.MergePatchType, []byte(`{"spec":{"minAvailable":0}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := w.until("the budget allows one", healthy(1)); err != nil {
		return err
	}
	if err := pods.EvictV1(w.ctx, eviction); err != nil {
		return err
	}
	return w.until("the evicted pod is gone", func() (bool, error) {
		_, err := pods.Get(w.ctx, "guarded", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// tokensAreBound asks for a token of an account, uses it, and sees it end with the object it is bound to.
func tokensAreBound(w *world) error {
	accounts := w.typed.CoreV1().ServiceAccounts(w.namespace)
	account, err := accounts.Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	secret, err := w.typed.CoreV1().Secrets(w.namespace).Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "tie"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &hour,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "tie", UID: secret.UID},
	}}
	granted, err := accounts.CreateToken(w.ctx, "robot", request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	left := time.Until(granted.Status.ExpirationTimestamp.Time)
	if left < 50*time.Minute || left > 70*time.Minute {
		return fmt.Errorf("a token for an hour ends in %v", left)
	}
	robot, err := bearer(w, granted.Status.Token)
	if err != nil {
		return err
	}
	me, err := robot.AuthenticationV1().SelfSubjectReviews().Create(w.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	user := me.Status.UserInfo
	if user.Username != "system:serviceaccount:"+w.namespace+":robot" || user.UID != string(account.UID) ||
		!slices.Contains(user.Groups, "system:serviceaccounts:"+w.namespace) {
		return fmt.Errorf("the token says %+v", user)
	}
	if err := robotGetsItsRights(w, robot); err != nil {
		return err
	}
	if err := reviewed(w, granted.Status.Token, true); err != nil {
		return err
	}
	if err := w.typed.CoreV1().Secrets(w.namespace).Delete(w.ctx, "tie", metav1.DeleteOptions{}); err != nil {
		return err
	}
	err = w.until("the token ends with its secret", func() (bool, error) {
		_, err := robot.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{})
		if apierrors.IsUnauthorized(err) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return err
	}
	return reviewed(w, granted.Status.Token, false)
}

func robotGetsItsRights(w *world, robot *kubernetes.Clientset) error {
	_, refused := robot.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{})
	words := `configmaps is forbidden: User "system:serviceaccount:` + w.namespace + `:robot" cannot list resource "configmaps" in API group "" in the namespace "` + w.namespace + `"`
	if !apierrors.IsForbidden(refused) || refused.Error() != words {
		return fmt.Errorf("without a role: got %v, want %s", refused, words)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "robot", Namespace: w.namespace}},
	}
	if _, err := w.typed.RbacV1().RoleBindings(w.namespace).Create(w.ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := w.until("the binding gives the right to list", func() (bool, error) {
		_, err := robot.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	_, refused = robot.CoreV1().Secrets(w.namespace).List(w.ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(refused) {
		return fmt.Errorf("who may view reads secrets: %v", refused)
	}
	return nil
}

func reviewed(w *world, token string, known bool) error {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	answer, err := w.typed.AuthenticationV1().TokenReviews().Create(w.ctx, review, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return equal("a review of the token", answer.Status.Authenticated, known)
}

// bearer is a client with a token and nothing else.
func bearer(w *world, token string) (*kubernetes.Clientset, error) {
	config := rest.AnonymousClientConfig(w.protobuf)
	config.BearerToken = token
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

// certificateIsSigned has a request approved and comes in with the certificate.
func certificateIsSigned(w *world) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{"team"}}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return err
	}
	requests := w.typed.CertificatesV1().CertificateSigningRequests()
	request, err := requests.Create(w.ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: w.namespace + "-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	defer requests.Delete(context.Background(), request.Name, metav1.DeleteOptions{})
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "by the test",
	})
	if _, err := requests.UpdateApproval(w.ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		return err
	}
	err = w.until("the certificate is issued", func() (bool, error) {
		request, err = requests.Get(w.ctx, request.Name, metav1.GetOptions{})
		return err == nil && len(request.Status.Certificate) > 0, err
	})
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(w.protobuf)
	config.CertData = request.Status.Certificate
	config.KeyData = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	jane, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	me, err := jane.AuthenticationV1().SelfSubjectReviews().Create(w.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	groups := slices.Sorted(slices.Values(me.Status.UserInfo.Groups))
	return equal("who the certificate says", me.Status.UserInfo.Username+" "+strings.Join(groups, ","), "jane system:authenticated,team")
}

// impersonation asks as somebody else.
func impersonation(w *world) error {
	config := rest.CopyConfig(w.protobuf)
	config.Impersonate = rest.ImpersonationConfig{UserName: "joe", Groups: []string{"team"}, Extra: map[string][]string{"why": {"a", "b"}}}
	joe, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	me, err := joe.AuthenticationV1().SelfSubjectReviews().Create(w.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	user := me.Status.UserInfo
	if user.Username != "joe" || !slices.Contains(user.Groups, "team") || fmt.Sprint(user.Extra["why"]) != "[a b]" {
		return fmt.Errorf("as joe one is %+v", user)
	}
	if _, err := joe.CoreV1().Secrets(w.namespace).List(w.ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("joe reads secrets: %v", err)
	}
	// Discovery is for everybody who is somebody.
	_, err = discovery.NewDiscoveryClientForConfigOrDie(config).ServerGroups()
	return err
}
