package konsort;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * Something that happened.
 *
 * @param id its place in the stream; {@link Client.EventQuery#after} goes on after it
 * @param topic {@code block}, {@code transaction}, {@code contract_event}, {@code operation}, {@code node}; {@code gap}: events in
 *     between are not kept any more
 * @param data {@code {topic, at, network, channel, …}}
 */
public record Event(String id, String topic, JsonNode data) {}
