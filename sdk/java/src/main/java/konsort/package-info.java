/**
 * Konsort from Java: consortium networks of two engines through one API.
 *
 * <pre>{@code
 * var client = Client.to("http://127.0.0.1:8080").key("kst_…").build();
 * client.networks.listNetworks(null, null, null, null).getItems().forEach(network -> System.out.println(network.getName()));
 * }</pre>
 *
 * {@link konsort.Client} adds to the generated API ({@code konsort.api}) what a program needs around it: proof of who calls,
 * repetitions that never double a write, the stream of events, and waiting for long acts.
 */
package konsort;
