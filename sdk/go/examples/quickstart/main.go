// Quick start: deploys a contract, then on each engine writes, reads, looks at the transaction and hears of it.
//
// KONSORT_URL and KONSORT_KEY say where and who; KONSORT_CA names the certificates for https.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"time"

	konsort "example.com/konsort/sdk"
	"example.com/konsort/sdk/generated"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	options := konsort.Options{Key: os.Getenv("KONSORT_KEY")}
	if file := os.Getenv("KONSORT_CA"); file != "" {
		options.CA = must(os.ReadFile(file))
	}
	client := must(konsort.New(os.Getenv("KONSORT_URL"), options))
	list, _, err := client.NetworksAPI.ListNetworks(ctx).Execute()
	check(err)
	networks := map[string]string{}
	for _, network := range list.Items {
		networks[string(network.Engine)] = network.Id
	}

	// A long act: begin it and wait for its end.
	name := "assets_" + rand.Text()[:8]
	artifact := api.ArtifactRequestBuiltinAsArtifactRequest(api.NewArtifactRequestBuiltin("builtin", "asset-transfer"))
	request := api.DeployRequest{Name: &name, Artifact: &artifact}
	begun, _, err := client.ContractsAPI.DeployContract(ctx, networks["fabric"]).DeployRequest(request).Execute()
	check(err)
	deployed := must(client.Wait(ctx, begun))
	fmt.Printf("deployed %s in %d steps\n", name, len(deployed.Steps))

	key := rand.Text()
	basic := deployed.Request["contract"].(string)
	fabric := place{ctx, client, "fabric", networks["fabric"], basic}
	fabric.writeAndRead("CreateAsset", []any{key, "blue", 5, "Tom", 300}, "ReadAsset", "AppraisedValue")
	contracts, _, err := client.ContractsAPI.ListContracts(ctx).Network(networks["bcos"]).Execute()
	check(err)
	for _, contract := range contracts.Items {
		if contract.Name == "Asset" {
			bcos := place{ctx, client, "bcos", networks["bcos"], contract.Id}
			bcos.writeAndRead("create", []any{key, "made with the SDK", "300"}, "read", "value")
		}
	}
	fmt.Println("done")
}

type place struct {
	ctx                       context.Context
	client                    *konsort.Client
	engine, network, contract string
}

// writeAndRead is the same for both engines.
func (p place) writeAndRead(create string, arguments []any, read, field string) {
	topics := []string{"transaction", "contract_event"}
	events := must(p.client.Events(p.ctx, konsort.EventOptions{Topics: topics, Network: p.network}))
	defer events.Close()
	written := must(p.client.Call(p.ctx, p.contract, create, arguments))
	outcome := must(p.client.Call(p.ctx, p.contract, read, arguments[:1]))
	value := outcome.Output.(map[string]any)[field]
	transaction, _, err := p.client.ExplorerAPI.GetTransaction(p.ctx, p.network, written.GetTransaction()).Execute()
	check(err)
	event := must(events.Next())
	for event.Data["transaction"] != written.GetTransaction() {
		event = must(events.Next())
	}
	wrote := arguments[len(arguments)-1]
	height := event.Data["height"].(float64)
	if fmt.Sprint(value) != fmt.Sprint(wrote) || transaction.Height != written.GetHeight() || int64(height) != transaction.Height {
		log.Fatalf("%s: what was written is not what is there", p.engine)
	}
	fmt.Printf("%s: wrote %v, read %v, block %d, heard of it as event %s\n", p.engine, wrote, value, transaction.Height, event.ID)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
