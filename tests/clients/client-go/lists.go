package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

// fill makes that many ConfigMaps and returns the revision after the last.
func fill(w *world, count int) (string, error) {
	revision := ""
	for number := range count {
		made, err := w.typed.CoreV1().ConfigMaps(w.namespace).
			Create(w.ctx, configMap(fmt.Sprintf("item-%02d", number), map[string]string{"n": strconv.Itoa(number)}), metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		revision = made.ResourceVersion
	}
	return revision, nil
}

// pagerReadsChunks lists in chunks while somebody writes: every object once, all of one revision.
func pagerReadsChunks(w *world) error {
	if _, err := fill(w, 25); err != nil {
		return err
	}
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	pages := 0
	lister := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		page, err := client.List(w.ctx, options)
		if err != nil {
			return nil, err
		}
		pages++
		if pages == 2 {
			_, err = client.Create(w.ctx, configMap("item-99", nil), metav1.CreateOptions{})
		}
		return page, err
	}))
	lister.PageSize, lister.PageBufferSize = 7, 0
	seen := map[string]int{}
	err := lister.EachListItem(w.ctx, metav1.ListOptions{LabelSelector: "app=test"}, func(object runtime.Object) error {
		seen[object.(*corev1.ConfigMap).Name]++
		return nil
	})
	if err != nil {
		return err
	}
	if err := equal("pages", pages, 4); err != nil {
		return err
	}
	if err := equal("objects", len(seen), 25); err != nil {
		return err
	}
	for name, times := range seen {
		if times != 1 || name == "item-99" {
			return fmt.Errorf("%s is listed %d times", name, times)
		}
	}
	// Controllers put more objects into every namespace, at a time of theirs.
	return w.until("a chunk says how much is left", func() (bool, error) {
		all, err := client.List(w.ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		first, err := client.List(w.ctx, metav1.ListOptions{Limit: 10})
		if err != nil {
			return false, err
		}
		left := first.RemainingItemCount
		return left != nil && *left == int64(len(all.Items)-10), nil
	})
}

// listRevisions reads the past exactly, and no less than a revision.
func listRevisions(w *world) error {
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	then, err := fill(w, 3)
	if err != nil {
		return err
	}
	if err := client.Delete(w.ctx, "item-00", metav1.DeleteOptions{}); err != nil {
		return err
	}
	for _, row := range []struct {
		revision string
		match    metav1.ResourceVersionMatch
		want     int
	}{
		{then, metav1.ResourceVersionMatchExact, 3}, {then, metav1.ResourceVersionMatchNotOlderThan, 2}, {"", "", 2},
	} {
		list, err := client.List(w.ctx, metav1.ListOptions{LabelSelector: "app=test", ResourceVersion: row.revision, ResourceVersionMatch: row.match})
		if err != nil {
			return err
		}
		if err := equal(fmt.Sprintf("objects %q %s", row.revision, row.match), len(list.Items), row.want); err != nil {
			return err
		}
	}
	future := metav1.ListOptions{ResourceVersion: "999999999", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
	err = w.typed.CoreV1().RESTClient().Get().Namespace(w.namespace).Resource("configmaps").
		VersionedParams(&future, scheme.ParameterCodec).MaxRetries(0).Do(w.ctx).Error()
	if !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return fmt.Errorf("a revision of the future gives %v", err)
	}
	_, err = client.List(w.ctx, metav1.ListOptions{ResourceVersion: "yesterday"})
	if !apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err) {
		return fmt.Errorf("a revision that is none gives %v", err)
	}
	return nil
}

// next waits for an event of a watch.
func (w *world) next(watching watch.Interface) (watch.Event, error) {
	select {
	case event, open := <-watching.ResultChan():
		if !open {
			return event, fmt.Errorf("the watch ends")
		}
		return event, nil
	case <-w.ctx.Done():
		return watch.Event{}, fmt.Errorf("the watch says nothing")
	}
}

// watchBookmarks ends a watch by its time; shortly before, a bookmark tells how far it came. Upstream does not promise one.
func watchBookmarks(w *world) error {
	start, err := fill(w, 1)
	if err != nil {
		return err
	}
	// What is not selected makes no event, and yet the bookmark tells that it has been passed.
	other := configMap("other", nil)
	other.Labels = nil
	passed, err := w.typed.CoreV1().ConfigMaps(w.namespace).Create(w.ctx, other, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	seconds := int64(4)
	watching, err := w.typed.CoreV1().ConfigMaps(w.namespace).Watch(w.ctx, metav1.ListOptions{
		ResourceVersion: start, AllowWatchBookmarks: true, TimeoutSeconds: &seconds, LabelSelector: "app=test",
	})
	if err != nil {
		return err
	}
	defer watching.Stop()
	last := ""
	for event := range watching.ResultChan() {
		if event.Type != watch.Bookmark {
			return fmt.Errorf("an event of nothing: %+v", event)
		}
		last = event.Object.(*corev1.ConfigMap).ResourceVersion
	}
	at, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return fmt.Errorf("the last bookmark's revision is %q", last)
	}
	if least, _ := strconv.ParseUint(passed.ResourceVersion, 10, 64); at < least {
		return fmt.Errorf("the bookmark at %d does not tell of %d", at, least)
	}
	return nil
}

// watchListStreams gets the state as events, a bookmark that says it is complete, and then what changes.
func watchListStreams(w *world) error {
	if _, err := fill(w, 5); err != nil {
		return err
	}
	client, yes := w.typed.CoreV1().ConfigMaps(w.namespace), true
	watching, err := client.Watch(w.ctx, metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, LabelSelector: "app=test",
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		return err
	}
	defer watching.Stop()
	names := map[string]bool{}
	for {
		event, err := w.next(watching)
		if err != nil {
			return err
		}
		object := event.Object.(*corev1.ConfigMap)
		if event.Type == watch.Bookmark {
			if err := equal("the bookmark's annotation", object.Annotations[metav1.InitialEventsAnnotationKey], "true"); err != nil {
				return err
			}
			break
		}
		if event.Type != watch.Added {
			return fmt.Errorf("the state comes as %s", event.Type)
		}
		names[object.Name] = true
	}
	if err := equal("objects of the state", len(names), 5); err != nil {
		return err
	}
	if err := client.Delete(w.ctx, "item-03", metav1.DeleteOptions{}); err != nil {
		return err
	}
	event, err := w.next(watching)
	if err != nil {
		return err
	}
	if event.Type != watch.Deleted || event.Object.(*corev1.ConfigMap).Data["n"] != "3" {
		return fmt.Errorf("a deletion comes as %+v", event)
	}
	_, err = client.Watch(w.ctx, metav1.ListOptions{SendInitialEvents: &yes})
	if !apierrors.IsInvalid(err) {
		return fmt.Errorf("initial events without a match give %v", err)
	}
	return nil
}

// watchSelectors has an object leave and enter a selection.
func watchSelectors(w *world) error {
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	watcher := cache.NewFilteredListWatchFromClient(w.typed.CoreV1().RESTClient(), "configmaps", w.namespace,
		func(options *metav1.ListOptions) { options.LabelSelector = "colour=red" })
	list, err := watcher.ListWithContext(w.ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	watching, err := watcher.WatchWithContext(w.ctx, metav1.ListOptions{ResourceVersion: list.(*corev1.ConfigMapList).ResourceVersion})
	if err != nil {
		return err
	}
	defer watching.Stop()
	if _, err := client.Create(w.ctx, configMap("one", map[string]string{"step": "1"}), metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, patch := range []string{
		`{"metadata":{"labels":{"colour":"red"}},"data":{"step":"2"}}`, `{"data":{"step":"3"}}`,
		`{"metadata":{"labels":{"colour":"blue"}},"data":{"step":"4"}}`,
	} {
		if _, err := client.Patch(w.ctx, "one", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	for _, want := range []string{"ADDED 2", "MODIFIED 3", "DELETED 3"} {
		event, err := w.next(watching)
		if err != nil {
			return err
		}
		if err := equal("an event", string(event.Type)+" "+event.Object.(*corev1.ConfigMap).Data["step"], want); err != nil {
			return err
		}
	}
	short, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel()
	select {
	case event := <-watching.ResultChan():
		return fmt.Errorf("one event too many: %+v", event)
	case <-short.Done():
		return nil
	}
}
