// What is refused arrives as an error with its code; a session works as a key does. Prints one line for each.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	konsort "example.com/konsort/sdk"
	"example.com/konsort/sdk/generated"
)

func main() {
	ctx := context.Background()
	address := os.Getenv("KONSORT_URL")
	client, err := konsort.New(address, konsort.Options{Key: os.Getenv("KONSORT_KEY"), Language: "zh"})
	check(err)
	list, _, err := client.ContractsAPI.ListContracts(ctx).Name("Asset").Execute()
	check(err)
	asset := list.Items[0]

	_, err = client.Call(ctx, asset.Id, "nothing", []any{})
	problem := refused[*konsort.Problem](err)
	fmt.Println(problem.Status, problem.Code, problem.Params["what"], problem.Title)
	_, err = client.Call(ctx, asset.Id, "read", []any{"nothing"})
	show("no effect:", strings.Contains(refused[*konsort.CallFailed](err).Call.GetExplanation(), "does not exist"))
	name := "Broken"
	artifact := api.ArtifactRequestEvmAsArtifactRequest(api.NewArtifactRequestEvm([]map[string]any{}, "fe", "evm"))
	request := api.DeployRequest{Name: &name, Artifact: &artifact}
	begun, _, err := client.ContractsAPI.DeployContract(ctx, asset.Network).DeployRequest(request).Execute()
	check(err)
	_, err = client.Wait(ctx, begun)
	failed := refused[*konsort.OperationFailed](err)
	fmt.Println(failed.Code, failed.Operation.State)
	var plan struct{ Steps []any }
	check(client.Request(ctx, http.MethodPost, "/v1/networks/"+asset.Network+"/stop?dry_run=true", nil, &plan))
	show("plan:", len(plan.Steps) > 0)

	name = "sdk-" + rand.Text()
	asked := api.NewUserRequest{Username: name, Role: api.ROLE_PLATFORM_ADMIN}
	user, _, err := client.AccessAPI.CreateUser(ctx).NewUserRequest(asked).Execute()
	check(err)
	person, err := konsort.LogIn(ctx, address, name, user.GetInitialPassword(), konsort.Options{})
	check(err)
	session, _, err := person.SessionAPI.GetSession(ctx).Execute()
	check(err)
	made, _, err := person.OrganisationsAPI.CreateOrganisation(ctx).NewOrganisation(api.NewOrganisation{Name: name}).Execute()
	check(err)
	show(string(session.Proof), made.Name == name)
	_, err = person.SessionAPI.LogOut(ctx).Execute()
	check(err)
	_, _, err = person.SessionAPI.GetSession(ctx).Execute()
	fmt.Println(refused[*konsort.Problem](err).Code)
}

func refused[T error](err error) T {
	var found T
	if !errors.As(err, &found) || found.Error() == "" {
		log.Fatalf("%T was expected, not %v", found, err)
	}
	return found
}

func show(what string, holds bool) {
	fmt.Println(what, map[bool]string{true: "True", false: "False"}[holds])
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
