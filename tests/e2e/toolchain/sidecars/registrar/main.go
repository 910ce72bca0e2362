// Command csi-node-driver-registrar stands in for the sidecar of that name, with its flags.
//
// Upstream's releases carry v2 tags on a module path without /v2, so the Go module proxy has none of them. What the
// sidecar does is small: it asks the driver for its name and serves the kubelet's plugin registration, version 1.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/connection"
	"github.com/kubernetes-csi/csi-lib-utils/rpc"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type registrar struct {
	registration.UnimplementedRegistrationServer
	driver, endpoint string
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.driver,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// If the kubelet refuses, the process ends. The container is started again, and registers again.
func (r *registrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Fatalf("the kubelet refused %s: %s", r.driver, status.Error)
	}
	log.Printf("the kubelet knows %s", r.driver)
	return &registration.RegistrationStatusResponse{}, nil
}

func main() {
	address := flag.String("csi-address", "/csi/csi.sock", "the driver's socket")
	endpoint := flag.String("kubelet-registration-path", "", "the driver's socket as the kubelet sees it")
	folder := flag.String("plugin-registration-path", "/registration", "the kubelet's plugins_registry")
	health := flag.String("http-endpoint", "", "where to serve /healthz")
	timeout := flag.Duration("timeout", time.Second, "longest wait for an answer of the driver")
	_ = flag.Int("v", 0, "verbosity; this one is always terse")
	flag.Parse()

	driver := driverName(*address, *timeout)
	socket := filepath.Join(*folder, driver+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	if *health != "" {
		http.HandleFunc("/healthz", func(reply http.ResponseWriter, _ *http.Request) {
			if _, err := os.Stat(socket); err != nil {
				http.Error(reply, err.Error(), http.StatusInternalServerError)
			}
		})
		go func() { log.Fatal(http.ListenAndServe(*health, nil)) }()
	}
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, &registrar{driver: driver, endpoint: *endpoint})
	// The end of the server removes the socket, by which the kubelet knows that the driver goes.
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

func driverName(address string, timeout time.Duration) string {
	conn, err := connection.ConnectWithoutMetrics(context.Background(), address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := rpc.ProbeForever(context.Background(), conn, timeout); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	name, err := rpc.GetDriverName(ctx, conn)
	if err != nil {
		log.Fatal(err)
	}
	return name
}
