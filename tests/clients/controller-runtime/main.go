// An operator made with controller-runtime, and what must be true while two of it run.
//
// `controller-runtime manager` is the operator. Without arguments the program is the test: it gives the operator an account
// with the rights it needs and no more, starts it twice, works with it, kills the one that leads with -9, and looks whether
// the other takes over. Each check prints `ok NAME` or `FAILED NAME: why`.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctrl.SetLogger(klog.NewKlogr())
	ctx, stop := signal.NotifyContext(ctrl.SetupSignalHandler(), syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "manager" {
		if err := manage(ctx, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "manager:", err)
			os.Exit(1)
		}
		return
	}
	if err := judge(ctx); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
