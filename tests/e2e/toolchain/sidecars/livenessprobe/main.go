// Command livenessprobe stands in for the sidecar of that name, with its flags, for the reason given in ../registrar.
//
// It serves /healthz, and every question there is one Probe of the driver.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"github.com/kubernetes-csi/csi-lib-utils/rpc"
)

func main() {
	address := flag.String("csi-address", "/csi/csi.sock", "the driver's socket")
	port := flag.String("health-port", "9808", "where to serve /healthz")
	endpoint := flag.String("http-endpoint", "", "the same as an address; takes the place of the port")
	timeout := flag.Duration("probe-timeout", time.Second, "longest wait for an answer of the driver")
	_ = flag.Int("v", 0, "verbosity; this one is always terse")
	flag.Parse()
	endWhenAsked()
	if *endpoint == "" {
		*endpoint = ":" + *port
	}
	conn, err := connection.ConnectWithoutMetrics(
		context.Background(), *address, connection.OnConnectionLoss(func(context.Context) bool { return true }),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/healthz", func(reply http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), *timeout)
		defer cancel()
		ready, err := rpc.Probe(ctx, conn)
		switch {
		case err != nil:
			http.Error(reply, err.Error(), http.StatusInternalServerError)
		case !ready:
			http.Error(reply, "the driver is not ready", http.StatusInternalServerError)
		}
	})
	log.Fatal(http.ListenAndServe(*endpoint, nil))
}

// The first process of a container hears no signal that it does not ask for.
func endWhenAsked() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		os.Exit(0)
	}()
}
