package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// counter counts how often a client asked for the whole state: by list, or by a watch that begins with it.
type counter struct {
	next   http.RoundTripper
	states atomic.Int32
}

func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	answer, err := c.next.RoundTrip(request)
	if err == nil && answer.StatusCode == http.StatusOK && request.Method == http.MethodGet &&
		(query.Get("watch") == "" || query.Get("sendInitialEvents") == "true") {
		c.states.Add(1)
	}
	return answer, err
}

func counting(config *rest.Config) (*rest.Config, *counter) {
	copied, counts := rest.CopyConfig(config), &counter{}
	copied.Wrap(func(next http.RoundTripper) http.RoundTripper {
		counts.next = next
		return counts
	})
	return copied, counts
}

// diary keeps the revisions of which an informer told, by object.
type diary struct {
	lock    sync.Mutex
	objects map[string][]uint64
	doubles []string
}

func (d *diary) note(object any) {
	if late, is := object.(cache.DeletedFinalStateUnknown); is {
		object = late.Obj
	}
	configMap := object.(*corev1.ConfigMap)
	revision, _ := strconv.ParseUint(configMap.ResourceVersion, 10, 64)
	d.lock.Lock()
	defer d.lock.Unlock()
	known := d.objects[configMap.Name]
	if len(known) > 0 && known[len(known)-1] >= revision {
		d.doubles = append(d.doubles, fmt.Sprint(configMap.Name, " ", known[len(known)-1], " then ", revision))
	}
	d.objects[configMap.Name] = append(known, revision)
}

func (d *diary) handler() cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    d.note,
		UpdateFunc: func(_, object any) { d.note(object) },
		DeleteFunc: d.note,
	}
}

// misses tells the first acknowledged write of which nothing was told.
func (d *diary) misses(written map[string][]uint64) string {
	d.lock.Lock()
	defer d.lock.Unlock()
	for name, revisions := range written {
		told := map[uint64]bool{}
		for _, revision := range d.objects[name] {
			told[revision] = true
		}
		for _, revision := range revisions {
			if !told[revision] {
				return fmt.Sprintf("%s at %d, told were %v", name, revision, d.objects[name])
			}
		}
	}
	return ""
}

// write changes objects until it is told to stop; what has no answer is tried again.
func write(w *world, stop <-chan struct{}) (map[string][]uint64, error) {
	written, client := map[string][]uint64{}, w.typed.CoreV1().ConfigMaps(w.namespace)
	for number := 0; ; number++ {
		select {
		case <-stop:
			return written, nil
		default:
		}
		name := fmt.Sprintf("item-%02d", number%10)
		patch := fmt.Sprintf(`{"data":{"write":"%d"}}`, number)
		done, err := client.Patch(w.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		var status apierrors.APIStatus
		if errors.As(err, &status) && !apierrors.IsTimeout(err) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsServerTimeout(err) {
			return written, err
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		revision, _ := strconv.ParseUint(done.ResourceVersion, 10, 64)
		// A write that changes nothing (its first try had no answer and had happened) has the revision before.
		if known := written[name]; len(known) == 0 || known[len(known)-1] != revision {
			written[name] = append(known, revision)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// informersResume kills the server under informers of three sorts: they go on where they were and tell all, each once.
func informersResume(w *world) error {
	if _, err := fill(w, 10); err != nil {
		return err
	}
	config, counts := counting(w.protobuf)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	selected := func(options *metav1.ListOptions) { options.LabelSelector = "app=test" }
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(w.namespace), informers.WithTweakListOptions(selected))
	typed := factory.Core().V1().ConfigMaps()
	book := &diary{objects: map[string][]uint64{}}
	if err := typed.Informer().AddIndexers(cache.Indexers{"parity": parity}); err != nil {
		return err
	}
	if _, err := typed.Informer().AddEventHandler(book.handler()); err != nil {
		return err
	}
	untyped := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.dynamic, 0, w.namespace, selected).ForResource(configMaps)
	partial := metadatainformer.NewFilteredSharedInformerFactory(w.metadata, 0, w.namespace, selected).ForResource(configMaps)
	factory.Start(ctx.Done())
	go untyped.Informer().Run(ctx.Done())
	go partial.Informer().Run(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), typed.Informer().HasSynced, untyped.Informer().HasSynced, partial.Informer().HasSynced) {
		return fmt.Errorf("the informers do not have the state")
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	var written map[string][]uint64
	go func() {
		var err error
		written, err = write(w, stop)
		done <- err
	}()
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		if err := restartServer(); err != nil {
			return err
		}
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	if err := <-done; err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	missing := ""
	if err := w.until("every write is told", func() (bool, error) { missing = book.misses(written); return missing == "", nil }); err != nil {
		return fmt.Errorf("%w: %s", err, missing)
	}
	if len(book.doubles) > 0 {
		return fmt.Errorf("told twice or backwards: %v", book.doubles)
	}
	if err := equal("how often the state was read", counts.states.Load(), 1); err != nil {
		return err
	}
	live, err := w.typed.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "app=test"})
	if err != nil {
		return err
	}
	if err := sameAsLive(typed.Lister().ConfigMaps(w.namespace).List, live); err != nil {
		return err
	}
	even, err := typed.Informer().GetIndexer().ByIndex("parity", "even")
	if err != nil {
		return err
	}
	if err := equal("objects by index", len(even), 5); err != nil {
		return err
	}
	return w.until("the other informers have the same revisions", func() (bool, error) {
		return revisions(untyped.Informer()) == revisionsOf(live) && revisions(partial.Informer()) == revisionsOf(live), nil
	})
}

func parity(object any) ([]string, error) {
	if strings.HasSuffix(object.(*corev1.ConfigMap).Name, "0") || strings.ContainsAny(object.(*corev1.ConfigMap).Name[6:], "2468") {
		return []string{"even"}, nil
	}
	return []string{"odd"}, nil
}

func sameAsLive(cached func(labels.Selector) ([]*corev1.ConfigMap, error), live *corev1.ConfigMapList) error {
	have, err := cached(labels.Everything())
	if err != nil {
		return err
	}
	if err := equal("objects in the cache", len(have), len(live.Items)); err != nil {
		return err
	}
	byName := map[string]*corev1.ConfigMap{}
	for _, one := range have {
		byName[one.Name] = one
	}
	for index := range live.Items {
		want := &live.Items[index]
		if !equality.Semantic.DeepEqual(byName[want.Name], want) {
			return fmt.Errorf("the cache has %+v, the server %+v", byName[want.Name], want)
		}
	}
	return nil
}

func revisionsOf(list *corev1.ConfigMapList) string {
	all := map[string]string{}
	for _, one := range list.Items {
		all[one.Name] = one.ResourceVersion
	}
	return fmt.Sprint(all)
}

func revisions(informer cache.SharedIndexInformer) string {
	all := map[string]string{}
	for _, one := range informer.GetStore().List() {
		object := one.(metav1.Object)
		all[object.GetName()] = object.GetResourceVersion()
	}
	return fmt.Sprint(all)
}

// retryWatcherResumes waits for a condition across the death of the server.
func retryWatcherResumes(w *world) error {
	start, err := fill(w, 1)
	if err != nil {
		return err
	}
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	listWatch := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		return client.Watch(ctx, options)
	}}
	reached := make(chan error, 1)
	var seen []string
	go func() {
		_, err := toolswatch.Until(w.ctx, start, listWatch, func(event watch.Event) (bool, error) {
			object, is := event.Object.(*corev1.ConfigMap)
			if !is || object.Name != "item-00" {
				return false, nil
			}
			seen = append(seen, object.Data["n"])
			return object.Data["n"] == "end", nil
		})
		reached <- err
	}()
	for _, value := range []string{"before", "after", "end"} {
		if value == "after" {
			if err := restartServer(); err != nil {
				return err
			}
		}
		patch := fmt.Sprintf(`{"data":{"n":%q}}`, value)
		if _, err := client.Patch(w.ctx, "item-00", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	if err := <-reached; err != nil {
		return err
	}
	return equal("values watched", fmt.Sprint(seen), "[before after end]")
}

// gate is a way to the server that can be shut: what was open breaks, and what is new waits, as in a hole of the network.
type gate struct {
	lock  sync.Mutex
	open  chan struct{}
	conns []net.Conn
}

func newGate() *gate {
	made := &gate{}
	made.mend()
	return made
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.lock.Lock()
	open := g.open
	g.lock.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	g.lock.Lock()
	defer g.lock.Unlock()
	if err == nil {
		g.conns = append(g.conns, conn)
	}
	return conn, err
}

func (g *gate) shut() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.open = make(chan struct{})
	for _, conn := range g.conns {
		conn.Close()
	}
	g.conns = nil
}

func (g *gate) mend() {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
	close(g.open)
}

// compactedListsAgain keeps an informer away until the server has forgotten where it was. It is told that it is too late,
// reads the state again and has no ghosts.
func compactedListsAgain(w *world) error {
	start, err := fill(w, 10)
	if err != nil {
		return err
	}
	way := newGate()
	config, counts := counting(w.protobuf)
	config.Dial = way.dial
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(w.namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "app=test" }))
	informer := factory.Core().V1().ConfigMaps()
	var deleted atomic.Int32
	_, err = informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(any) { deleted.Add(1) }})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return fmt.Errorf("the informer does not have the state")
	}
	chunk, err := w.typed.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{Limit: 3})
	if err != nil {
		return err
	}
	way.shut()
	if err := forget(w, start); err != nil {
		return err
	}
	if err := w.typed.CoreV1().ConfigMaps(w.namespace).Delete(w.ctx, "item-04", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if _, err := w.typed.CoreV1().ConfigMaps(w.namespace).Create(w.ctx, configMap("item-77", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := expired(w, start, chunk.Continue); err != nil {
		return err
	}
	way.mend()
	live, err := w.typed.CoreV1().ConfigMaps(w.namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "app=test"})
	if err != nil {
		return err
	}
	err = w.until("the informer has the state again", func() (bool, error) {
		return revisions(informer.Informer()) == revisionsOf(live), nil
	})
	if err != nil {
		return err
	}
	if err := equal("deletions told", deleted.Load(), 1); err != nil {
		return err
	}
	return equal("how often the state was read", counts.states.Load(), 2)
}

// forget writes until the server no longer knows what was after a revision.
func forget(w *world, start string) error {
	client, filler := w.typed.CoreV1().ConfigMaps(w.namespace), strings.Repeat("x", 1_000_000)
	large := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large"}}
	if _, err := client.Create(w.ctx, large, metav1.CreateOptions{}); err != nil {
		return err
	}
	return w.until("the server forgets", func() (bool, error) {
		for number := range 10 {
			large.Data = map[string]string{"k": strconv.Itoa(number) + filler}
			if _, err := client.Update(w.ctx, large, metav1.UpdateOptions{}); err != nil {
				return false, err
			}
		}
		_, err := client.List(w.ctx, metav1.ListOptions{
			ResourceVersion: start, ResourceVersionMatch: metav1.ResourceVersionMatchExact, Limit: 1,
		})
		if apierrors.IsResourceExpired(err) {
			return true, nil
		}
		return false, err
	})
}

// expired looks at what each request for something forgotten gets.
func expired(w *world, start, token string) error {
	client := w.typed.CoreV1().ConfigMaps(w.namespace)
	watching, err := client.Watch(w.ctx, metav1.ListOptions{ResourceVersion: start})
	if err == nil {
		defer watching.Stop()
		event, failure := w.next(watching)
		if failure != nil {
			return failure
		}
		err = apierrors.FromObject(event.Object)
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		return fmt.Errorf("a watch after a forgotten revision gives %v", err)
	}
	_, err = client.List(w.ctx, metav1.ListOptions{Limit: 3, Continue: token})
	var status apierrors.APIStatus
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) {
		return fmt.Errorf("a continue token of forgotten times gives %v", err)
	}
	// The error carries a token that goes on in the present.
	rest, err := client.List(w.ctx, metav1.ListOptions{Limit: 500, Continue: status.Status().Continue})
	if err != nil {
		return err
	}
	for _, one := range rest.Items {
		if one.Name == "item-77" {
			return nil
		}
	}
	return fmt.Errorf("the inconsistent rest of a list lacks what is new")
}
