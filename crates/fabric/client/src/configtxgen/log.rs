//! Log lines on standard error in upstream's default format; scripts grep for some of them.

use crate::tools::Console;

/// Numbers the lines of one run.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: u32,
}

impl Log {
    pub(super) fn info(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, ("34", "INFO"), logger, function, message);
    }

    pub(super) fn error(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, ("31", "ERRO"), logger, function, message);
    }

    pub(super) fn panic(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, ("35", "PANI"), logger, function, message);
    }

    pub(super) fn fatal(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, ("35", "FATA"), logger, function, message);
    }

    fn line(
        &mut self,
        console: &mut Console<'_>,
        (colour, level): (&str, &str),
        logger: &str,
        function: &str,
        message: &str,
    ) {
        self.lines += 1;
        let now = fabric_channel::protoutil::now();
        let milliseconds = now.nanos / 1_000_000;
        let second = prost_types::Timestamp { nanos: 0, ..now }.to_string().replace('T', " ").replace('Z', "");
        let number = self.lines;
        console.err(&format!(
            "\x1b[{colour}m{second}.{milliseconds:03} UTC {number:04x} {level}\x1b[0m [{logger}] \x1b[{colour};1m{function}\x1b[0m -> {message}\n"
        ));
    }
}
