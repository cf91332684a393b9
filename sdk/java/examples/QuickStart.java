import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import konsort.Client;
import konsort.Client.EventQuery;
import konsort.Event;
import konsort.api.model.ArtifactRequest;
import konsort.api.model.ArtifactRequestBuiltin;
import konsort.api.model.ArtifactRequestBuiltin.KindEnum;
import konsort.api.model.DeployRequest;

/**
 * Quick start: deploys a contract, then on each engine writes, reads, looks at the transaction and hears of it.
 *
 * <p>KONSORT_URL and KONSORT_KEY say where and who; KONSORT_CA names the certificates for https.
 */
public final class QuickStart {
  private final Client client;
  private final Map<String, String> networks = new HashMap<>();

  private QuickStart(Client client) {
    this.client = client;
  }

  public static void main(String[] arguments) throws Exception {
    var builder = Client.to(System.getenv("KONSORT_URL")).key(System.getenv("KONSORT_KEY"));
    String ca = System.getenv("KONSORT_CA");
    new QuickStart((ca == null ? builder : builder.ca(Files.readAllBytes(Path.of(ca)))).build()).run();
  }

  private void run() throws Exception {
    client.networks.listNetworks(null, null, null, null).getItems()
        .forEach(network -> networks.put(network.getEngine().getValue(), network.getId()));

    // A long act: begin it and wait for its end.
    var artifact = new ArtifactRequest(new ArtifactRequestBuiltin().kind(KindEnum.BUILTIN).name("asset-transfer"));
    var request = new DeployRequest().name("assets_" + UUID.randomUUID().toString().substring(0, 8)).artifact(artifact);
    var deployed = client.await(client.contracts.deployContract(networks.get("fabric"), request, null));
    System.out.printf("deployed %s in %d steps%n", request.getName(), deployed.getSteps().size());

    String name = UUID.randomUUID().toString();
    String basic = (String) ((Map<?, ?>) deployed.getRequest()).get("contract");
    writeAndRead("fabric", basic, "CreateAsset", List.of(name, "blue", 5, "Tom", 300), "ReadAsset", "AppraisedValue");
    String asset = client.contracts.listContracts(networks.get("bcos"), null, null, null, null).getItems().stream()
        .filter(contract -> contract.getName().equals("Asset")).findFirst().orElseThrow().getId();
    writeAndRead("bcos", asset, "create", List.of(name, "made with the SDK", "300"), "read", "value");
    System.out.println("done");
  }

  /** The same for both engines. */
  private void writeAndRead(String engine, String contract, String create, List<?> arguments, String read, String field)
      throws Exception {
    String network = networks.get(engine);
    try (var events = client.events(new EventQuery(List.of("transaction", "contract_event"), network, null))) {
      var written = client.call(contract, create, arguments);
      Object value = ((Map<?, ?>) client.call(contract, read, arguments.subList(0, 1)).getOutput()).get(field);
      var transaction = client.explorer.getTransaction(network, written.getTransaction(), null);
      Event event = events.next();
      while (!event.data().path("transaction").asText().equals(written.getTransaction())) {
        event = events.next();
      }
      Object wrote = arguments.get(arguments.size() - 1);
      long height = transaction.getHeight();
      if (!value.toString().equals(wrote.toString()) || written.getHeight() != height
          || event.data().path("height").asLong() != height) {
        throw new IllegalStateException(engine + ": what was written is not what is there");
      }
      System.out.printf("%s: wrote %s, read %s, block %d, heard of it as event %s%n", engine, wrote, value, height, event.id());
    }
  }
}
