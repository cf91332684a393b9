import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;

/** A test runner of one screen: every named check runs, each failure is told, the end says how many. */
final class Check {
    interface Body {
        void run() throws Exception;
    }

    private final List<String> failed = new ArrayList<>();
    private final String only;
    private int passed;

    Check(String only) {
        this.only = only;
    }

    void that(String name, Body body) {
        if (only != null && !name.contains(only)) return;
        try {
            body.run();
            passed++;
            System.out.println("ok     " + name);
        } catch (Throwable error) {
            failed.add(name);
            System.out.println("FAILED " + name + ": " + error);
            for (StackTraceElement at : error.getStackTrace()) {
                if (at.getFileName() != null && at.getFileName().equals("Conformance.java")) System.out.println("       at line " + at.getLineNumber());
            }
        }
    }

    /** Says how it went; true when nothing failed. */
    boolean done() {
        System.out.println("passed " + passed + " failed " + failed.size());
        return failed.isEmpty() && passed > 0;
    }

    static void equal(Object wanted, Object found) {
        if (!Objects.equals(wanted, found)) throw new AssertionError("wanted " + wanted + ", found " + found);
    }

    static void same(String wanted, String found) {
        equal(bare(wanted), bare(found));
    }

    static String bare(String hex) {
        return hex == null ? null : (hex.startsWith("0x") ? hex.substring(2) : hex).toLowerCase();
    }

    static void yes(boolean fact, Object what) {
        if (!fact) throw new AssertionError(String.valueOf(what));
    }

    /** Waits until a condition holds, at most 20 seconds. */
    static void eventually(String what, Callable<Boolean> fact) throws Exception {
        long until = System.nanoTime() + 20_000_000_000L;
        while (!fact.call()) {
            if (System.nanoTime() > until) throw new AssertionError(what + ": not within 20 s");
            Thread.sleep(20);
        }
    }
}
