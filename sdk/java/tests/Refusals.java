import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import konsort.CallFailed;
import konsort.Client;
import konsort.KonsortException;
import konsort.OperationFailed;
import konsort.Problem;
import konsort.api.model.ArtifactRequest;
import konsort.api.model.ArtifactRequestEvm;
import konsort.api.model.DeployRequest;
import konsort.api.model.NewOrganisation;
import konsort.api.model.NewUserRequest;
import konsort.api.model.Role;

/** What is refused arrives as an error with its code; a session works as a key does. Prints one line for each. */
public final class Refusals {
  public static void main(String[] arguments) throws Exception {
    String url = System.getenv("KONSORT_URL");
    Client client = Client.to(url).key(System.getenv("KONSORT_KEY")).language("zh").build();
    var asset = client.contracts.listContracts(null, "Asset", null, null, null).getItems().get(0);

    Problem problem = refused(Problem.class, () -> client.call(asset.getId(), "nothing", List.of()));
    System.out.println(problem.status() + " " + problem.code() + " " + problem.params().path("what").asText() + " " + problem.title());
    CallFailed call = refused(CallFailed.class, () -> client.call(asset.getId(), "read", List.of("nothing")));
    show("no effect:", call.call().getExplanation().contains("does not exist"));
    var evm = new ArtifactRequestEvm().kind(ArtifactRequestEvm.KindEnum.EVM).bytecode("fe").abi(List.of());
    var request = new DeployRequest().name("Broken").artifact(new ArtifactRequest(evm));
    OperationFailed failed = refused(OperationFailed.class,
        () -> client.await(client.contracts.deployContract(asset.getNetwork(), request, null)));
    System.out.println(failed.code() + " " + failed.operation().getState().getValue());
    var plan = client.request("POST", "/v1/networks/" + asset.getNetwork() + "/stop?dry_run=true", null);
    show("plan:", plan.path("steps").size() > 0);

    String name = "sdk-" + UUID.randomUUID();
    var user = client.access.createUser(new NewUserRequest().username(name).role(Role.PLATFORM_ADMIN), null);
    Client person = Client.to(url).logIn(name, user.getInitialPassword());
    var made = person.organisations.createOrganisation(new NewOrganisation().name(name), null);
    show(person.session.getSession().getProof().getValue(), made.getName().equals(name));
    person.session.logOut(null, null);
    System.out.println(refused(Problem.class, () -> person.session.getSession()).code());
  }

  private static <T extends KonsortException> T refused(Class<T> kind, Callable<?> act) throws Exception {
    try {
      act.call();
    } catch (KonsortException error) {
      return kind.cast(error);
    }
    throw new IllegalStateException("nothing was refused; " + kind.getSimpleName() + " was expected");
  }

  private static void show(String what, boolean holds) {
    System.out.println(what + " " + (holds ? "True" : "False"));
  }
}
