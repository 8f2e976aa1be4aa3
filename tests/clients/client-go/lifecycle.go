package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func owned(name string, owner *corev1.ConfigMap) *corev1.ConfigMap {
	child, yes := configMap(name, nil), true
	child.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: &yes, Controller: &yes,
	}}
	return child
}

// ownersAndFinalizers deletes owners in the background, in the foreground and without their children.
func ownersAndFinalizers(w *world) error {
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	gone := func(name string) func() (bool, error) {
		return func() (bool, error) {
			_, err := client.Get(w.ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			return false, err
		}
	}
	family := func(name string, finalizers ...string) error {
		parent := configMap(name, nil)
		parent.Finalizers = finalizers
		owner, err := client.Create(w.ctx, parent, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		_, err = client.Create(w.ctx, owned(name+"-child", owner), metav1.CreateOptions{})
		return err
	}
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground} {
		name := map[metav1.DeletionPropagation]string{metav1.DeletePropagationBackground: "back", metav1.DeletePropagationForeground: "fore"}[policy]
		if err := family(name); err != nil {
			return err
		}
		if err := client.Delete(w.ctx, name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			return err
		}
		if err := w.until(name+" and its child are deleted", gone(name+"-child")); err != nil {
			return err
		}
		if err := w.until(name+" is deleted", gone(name)); err != nil {
			return err
		}
	}
	if err := family("orphaned"); err != nil {
		return err
	}
	orphan := metav1.DeletePropagationOrphan
	if err := client.Delete(w.ctx, "orphaned", metav1.DeleteOptions{PropagationPolicy: &orphan}); err != nil {
		return err
	}
	if err := w.until("the owner goes alone", gone("orphaned")); err != nil {
		return err
	}
	child, err := client.Get(w.ctx, "orphaned-child", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := equal("owners of an orphan", len(child.OwnerReferences), 0); err != nil {
		return err
	}
	if err := family("held", "example.org/hold"); err != nil {
		return err
	}
	if err := client.Delete(w.ctx, "held", metav1.DeleteOptions{}); err != nil {
		return err
	}
	held, err := client.Get(w.ctx, "held", metav1.GetOptions{})
	if err != nil || held.DeletionTimestamp == nil {
		return fmt.Errorf("an object with a finalizer that is deleted: %v %v", held.DeletionTimestamp, err)
	}
	added := []byte(`{"metadata":{"finalizers":["example.org/hold","example.org/late"]}}`)
	if _, err := client.Patch(w.ctx, "held", types.MergePatchType, added, metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("a finalizer added to what is being deleted gives %v", err)
	}
	if _, err := client.Patch(w.ctx, "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	return w.until("without finalizers it goes", gone("held"))
}

// eventsAreRecorded says the same thing twice; it becomes one series.
func eventsAreRecorded(w *world) error {
	about, err := w.typed.CoreV1().ConfigMaps(w.namespace).Create(w.ctx, configMap("subject", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.typed.EventsV1()})
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, "example.org/tester")
	var found *eventsv1.Event
	for _, series := range []bool{false, true} {
		recorder.Eventf(about, nil, corev1.EventTypeNormal, "Tested", "Testing", "run %d", 1)
		err = w.until("the event is there", func() (bool, error) {
			list, err := w.typed.EventsV1().Events(w.namespace).List(w.ctx, metav1.ListOptions{FieldSelector: "regarding.name=subject,reason=Tested"})
			if err != nil || len(list.Items) == 0 {
				return false, err
			}
			found = &list.Items[0]
			return (found.Series != nil) == series, nil
		})
		if err != nil {
			return err
		}
	}
	if err := equal("the event's words", found.ReportingController+": "+found.Action+" "+found.Note, "example.org/tester: Testing run 1"); err != nil {
		return err
	}
	// The other group tells of the same object.
	old, err := w.typed.CoreV1().Events(w.namespace).List(w.ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(about.UID)})
	if err != nil {
		return err
	}
	if err := equal("events by the core group", len(old.Items), 1); err != nil {
		return err
	}
	return equal("the message there", old.Items[0].Message, "run 1")
}

// leaderElection has a leader that steps down and one that vanishes.
func leaderElection(w *world) error {
	var leads atomic.Value
	leads.Store("")
	candidate := func(name string, release bool) (context.CancelFunc, <-chan struct{}) {
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan struct{})
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "election", Namespace: w.namespace},
			Client:     w.typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		go func() {
			defer close(ended)
			leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
				Lock: lock, ReleaseOnCancel: release,
				LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
				Callbacks: leaderelection.LeaderCallbacks{
					OnStartedLeading: func(context.Context) { leads.Store(name) },
					OnStoppedLeading: func() {},
				},
			})
		}()
		return cancel, ended
	}
	becomes := func(name string) error {
		return w.until(name+" leads", func() (bool, error) { return leads.Load() == name, nil })
	}
	stopFirst, firstEnded := candidate("first", true)
	if err := becomes("first"); err != nil {
		return err
	}
	stopSecond, secondEnded := candidate("second", false)
	stopFirst()
	<-firstEnded
	if err := becomes("second"); err != nil {
		return err
	}
	stopThird, thirdEnded := candidate("third", true)
	stopSecond()
	<-secondEnded
	if err := becomes("third"); err != nil {
		return err
	}
	lease, err := w.typed.CoordinationV1().Leases(w.namespace).Get(w.ctx, "election", metav1.GetOptions{})
	if err != nil {
		return err
	}
	stopThird()
	<-thirdEnded
	if err := equal("the holder", *lease.Spec.HolderIdentity, "third"); err != nil {
		return err
	}
	if *lease.Spec.LeaseTransitions < 2 {
		return fmt.Errorf("the lease counts %d changes of its holder", *lease.Spec.LeaseTransitions)
	}
	return nil
}
