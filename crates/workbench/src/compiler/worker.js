// Runs one soljson compiler: a line of JSON {input} in, a line of JSON {output} or {error} out.
"use strict";
const send = (message) => process.stdout.write(JSON.stringify(message) + "\n");
// Whatever the compiler's runtime prints must not mix with the answers.
console.log = console.info = console.warn = console.error = () => {};
let compile, reset;
try {
  const soljson = require(process.argv[2]);
  // The runtime of older releases takes over the handling of errors.
  process.removeAllListeners("uncaughtException");
  process.removeAllListeners("unhandledRejection");
  const has = (name) => typeof soljson["_" + name] === "function";
  const version = soljson.cwrap(has("solidity_version") ? "solidity_version" : "version", "string", [])();
  if (has("solidity_compile")) {
    const call = soljson.cwrap("solidity_compile", "string", ["string", "number", "number"]);
    compile = (input) => call(input, 0, 0);
  } else if (has("compileStandard")) {
    const call = soljson.cwrap("compileStandard", "string", ["string", "number"]);
    compile = (input) => call(input, 0);
  } else {
    throw new Error("it takes no standard JSON; releases from 0.4.11 on do");
  }
  reset = has("solidity_reset") ? soljson.cwrap("solidity_reset", null, []) : () => {};
  send({ version });
} catch (error) {
  send({ error: String((error && error.message) || error).slice(0, 500) });
  process.exit(1);
}
let pending = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => {
  pending += chunk;
  let end;
  while ((end = pending.indexOf("\n")) >= 0) {
    const line = pending.slice(0, end);
    pending = pending.slice(end + 1);
    try {
      send({ output: compile(JSON.parse(line).input) });
      reset();
    } catch (error) {
      send({ error: String((error && error.message) || error).slice(0, 500) });
      // Its memory may be in any state.
      process.exit(1);
    }
  }
});
process.stdin.on("end", () => process.exit(0));
