// What operators do with client-go, checked against a cluster that a kubeconfig names.
//
// Each check works in a namespace of its own and prints `ok NAME` or `FAILED NAME: why`. The server is killed and started
// again when the program asks for it: a line `! restart` on stdout is a wish, and a line on stdin says that it is granted.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long anything here may take; whatever takes longer has hung.
const patience = 60 * time.Second

// world is what a check works with.
type world struct {
	ctx context.Context
	// namespace belongs to the check alone.
	namespace string
	// json and protobuf say how clients made of them speak.
	json, protobuf *rest.Config
	// typed speaks protobuf, the other two JSON.
	typed    *kubernetes.Clientset
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

type check struct {
	name string
	run  func(*world) error
	// ours says that the check kills the server, fills its history, or holds it to more than upstream promises.
	ours bool
}

// checks in the order in which they run.
var checks = []check{
	{"discovery", discoveryAgrees, false},
	{"openapi", openAPIIsRead, false},
	{"rest-mapper", mapperFinds, false},
	{"crud", crud, false},
	{"errors", errorsAreTyped, false},
	{"patches", patches, false},
	{"apply", serverSideApply, false},
	{"apply-extract", applyExtracts, false},
	{"dynamic", dynamicJSON, false},
	{"metadata", metadataOnly, false},
	{"warnings", warningsReachTheHandler, false},
	{"scale", scaleEveryWay, false},
	{"eviction", evictionRespectsBudgets, false},
	{"tokens", tokensAreBound, false},
	{"certificates", certificateIsSigned, false},
	{"impersonation", impersonation, false},
	{"owners", ownersAndFinalizers, false},
	{"events", eventsAreRecorded, false},
	{"pager", pagerReadsChunks, false},
	{"list-revisions", listRevisions, false},
	{"watch-bookmarks", watchBookmarks, true},
	{"watch-list", watchListStreams, false},
	{"watch-selectors", watchSelectors, false},
	{"leader-election", leaderElection, false},
	{"informers-restart", informersResume, true},
	{"retry-watcher-restart", retryWatcherResumes, true},
	{"compacted", compactedListsAgain, true},
}

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "the cluster")
	only := flag.String("only", os.Getenv("CHECK"), "run this check alone")
	ours := flag.Bool("ours", true, "run the checks that are not for upstream")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Println("FAILED kubeconfig:", err)
		os.Exit(1)
	}
	failed := 0
	for _, one := range checks {
		if (*only != "" && one.name != *only) || (one.ours && !*ours) {
			continue
		}
		if err := runIn(config, one); err != nil {
			fmt.Printf("FAILED %s: %v\n", one.name, err)
			failed++
			continue
		}
		fmt.Println("ok", one.name)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func runIn(config *rest.Config, one check) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	made, err := newWorld(ctx, config)
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: one.name + "-"}}
	created, err := made.typed.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("a namespace: %w", err)
	}
	made.namespace = created.Name
	defer made.typed.CoreV1().Namespaces().Delete(context.Background(), created.Name, metav1.DeleteOptions{})
	return one.run(made)
}

func newWorld(ctx context.Context, config *rest.Config) (*world, error) {
	asJSON := rest.CopyConfig(config)
	asJSON.QPS = -1
	asProtobuf := rest.CopyConfig(asJSON)
	asProtobuf.ContentType = "application/vnd.kubernetes.protobuf"
	asProtobuf.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	typed, err := kubernetes.NewForConfig(asProtobuf)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(asJSON)
	if err != nil {
		return nil, err
	}
	partial, err := metadata.NewForConfig(asJSON)
	if err != nil {
		return nil, err
	}
	return &world{ctx: ctx, json: asJSON, protobuf: asProtobuf, typed: typed, dynamic: untyped, metadata: partial}, nil
}

// answers are the lines on stdin.
var answers = sync.OnceValue(func() *bufio.Scanner { return bufio.NewScanner(os.Stdin) })

// restartServer has the server killed and waits until it is there again.
func restartServer() error {
	fmt.Println("! restart")
	if !answers().Scan() {
		return errors.New("nobody restarts the server")
	}
	return nil
}

// until asks again and again whether it is so.
func (w *world) until(what string, holds func() (bool, error)) error {
	for {
		so, err := holds()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if so {
			return nil
		}
		select {
		case <-w.ctx.Done():
			return fmt.Errorf("not within %v: %s", patience, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// equal compares what is with what should be.
func equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "test"}},
		Data:       data,
	}
}
