package main

import (
	"context"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// fleets hold the operator's objects.
	fleets = "fleets"
	// elsewhere holds what no garbage collector would find: the operator's finalizer takes it away.
	elsewhere = "elsewhere"
	finalizer = "example.org/fleet"
	// settings is the annotation of a Service that names the ConfigMap its fleet is made by.
	settings = "example.org/settings"
	byImage  = "settings"
)

// operator makes of each Service with the annotation a Deployment (by what a ConfigMap says), a record in another
// namespace, and a condition in the Service's status.
type operator struct {
	client client.Client
}

// manage runs one replica of the operator until it is stopped or loses the lead.
func manage(ctx context.Context, identity string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	lease, renew, pause := 3*time.Second, 2*time.Second, 300*time.Millisecond
	manager, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "operator.example.org", LeaderElectionNamespace: fleets,
		LeaseDuration: &lease, RenewDeadline: &renew, RetryPeriod: &pause,
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Cache:                  cache.Options{DefaultNamespaces: map[string]cache.Config{fleets: {}, elsewhere: {}}},
	})
	if err != nil {
		return err
	}
	err = manager.GetFieldIndexer().IndexField(ctx, &corev1.Service{}, byImage, func(object client.Object) []string {
		return []string{object.GetAnnotations()[settings]}
	})
	if err != nil {
		return err
	}
	one := &operator{client: manager.GetClient()}
	err = ctrl.NewControllerManagedBy(manager).
		For(&corev1.Service{}).
		Owns(&appsv1.Deployment{}).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(one.users)).
		Complete(one)
	if err != nil {
		return err
	}
	go func() {
		<-manager.Elected()
		fmt.Println("leads", identity)
	}()
	return manager.Start(ctx)
}

// users are the Services that are made by a ConfigMap, found in the cache by index.
func (o *operator) users(ctx context.Context, object client.Object) []reconcile.Request {
	var services corev1.ServiceList
	err := o.client.List(ctx, &services, client.InNamespace(object.GetNamespace()), client.MatchingFields{byImage: object.GetName()})
	if err != nil {
		return nil
	}
	var requests []reconcile.Request
	for _, service := range services.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&service)})
	}
	return requests
}

func (o *operator) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var service corev1.Service
	if err := o.client.Get(ctx, request.NamespacedName, &service); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if service.Annotations[settings] == "" {
		return reconcile.Result{}, nil
	}
	if !service.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, o.remove(ctx, &service)
	}
	if controllerutil.AddFinalizer(&service, finalizer) {
		if err := o.client.Update(ctx, &service); err != nil {
			return reconcile.Result{}, err
		}
	}
	image, err := o.image(ctx, &service)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := o.deploy(ctx, &service, image); err != nil {
		return reconcile.Result{}, err
	}
	record := applycore.ConfigMap(service.Name, elsewhere).WithData(map[string]string{"image": image})
	if err := o.client.Apply(ctx, record, client.FieldOwner("operator"), client.ForceOwnership); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, o.tell(ctx, request.NamespacedName, image)
}

func (o *operator) image(ctx context.Context, service *corev1.Service) (string, error) {
	var made corev1.ConfigMap
	key := types.NamespacedName{Namespace: service.Namespace, Name: service.Annotations[settings]}
	if err := o.client.Get(ctx, key, &made); err != nil {
		return "none", client.IgnoreNotFound(err)
	}
	return made.Data["image"], nil
}

func (o *operator) deploy(ctx context.Context, service *corev1.Service, image string) error {
	labels := map[string]string{"fleet": service.Name}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	_, err := controllerutil.CreateOrUpdate(ctx, o.client, deployment, func() error {
		none := int32(0)
		deployment.Spec.Replicas = &none
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		deployment.Spec.Template.Labels = labels
		if len(deployment.Spec.Template.Spec.Containers) == 0 {
			deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app"}}
		}
		deployment.Spec.Template.Spec.Containers[0].Image = image
		return controllerutil.SetControllerReference(service, deployment, o.client.Scheme())
	})
	if apierrors.IsAlreadyExists(err) {
		// The cache has not heard of it yet.
		return nil
	}
	return err
}

// tell writes the condition as often as others are faster.
func (o *operator) tell(ctx context.Context, key types.NamespacedName, image string) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var service corev1.Service
		if err := o.client.Get(ctx, key, &service); err != nil {
			return client.IgnoreNotFound(err)
		}
		changed := meta.SetStatusCondition(&service.Status.Conditions, metav1.Condition{
			Type: "Deployed", Status: metav1.ConditionTrue, Reason: "Made", Message: image, ObservedGeneration: service.Generation,
		})
		if !changed {
			return nil
		}
		err := o.client.Status().Update(ctx, &service)
		if apierrors.IsConflict(err) {
			fmt.Println("conflict")
		}
		return err
	})
}

func (o *operator) remove(ctx context.Context, service *corev1.Service) error {
	if !controllerutil.ContainsFinalizer(service, finalizer) {
		return nil
	}
	record := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: service.Name}}
	if err := client.IgnoreNotFound(o.client.Delete(ctx, record)); err != nil {
		return err
	}
	before := service.DeepCopy()
	controllerutil.RemoveFinalizer(service, finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(o.client.Patch(ctx, service, patch))
}
