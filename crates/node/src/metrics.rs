//! Metrics in Prometheus' text format, under exactly the names given.
//!
//! Dashboards written for upstream's nodes read these names, so no suffix is added to a counter and labels are printed
//! in alphabetical order, as upstream's library does.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// Upper bounds used when a histogram names none (Prometheus' own defaults, for seconds).
pub const DEFAULT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of upstream's histograms of the ledger's stages, in seconds.
pub const LEDGER_BUCKETS: &[f64] = &[0.005, 0.01, 0.015, 0.05, 0.1, 1.0, 10.0];

/// All metrics of one node. Clones share the registry.
#[derive(Clone, Default)]
pub struct Metrics {
    families: Arc<RwLock<BTreeMap<String, Arc<Family>>>>,
    refreshers: Arc<RwLock<Vec<Refresher>>>,
}

type Refresher = Box<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("families", &self.families.read().len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
struct Family {
    help: String,
    kind: Kind,
    labels: Vec<String>,
    bounds: Vec<f64>,
    series: RwLock<HashMap<Vec<String>, Arc<Series>>>,
}

/// One line (or one histogram): a value in `f64` bits, and the buckets if it has any.
#[derive(Debug)]
struct Series {
    value: AtomicU64,
    count: AtomicU64,
    buckets: Vec<AtomicU64>,
}

impl Series {
    fn add(&self, by: f64) {
        let mut current = self.value.load(Ordering::Relaxed);
        loop {
            let next = (f64::from_bits(current) + by).to_bits();
            match self.value.compare_exchange_weak(current, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(actual) => current = actual,
            }
        }
    }
}

macro_rules! metric {
    ($(#[$family_doc:meta])* $family:ident, $(#[$doc:meta])* $single:ident) => {
        $(#[$family_doc])*
        #[derive(Clone, Debug)]
        pub struct $family(Arc<Family>);

        impl $family {
            /// The line with these label values, in the order the labels were declared.
            ///
            /// Keep the result where it is used often: finding it takes a lock and a look-up.
            pub fn with(&self, values: &[&str]) -> $single {
                $single(self.0.series(values), Arc::clone(&self.0))
            }
        }

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $single(Arc<Series>, #[allow(dead_code)] Arc<Family>);
    };
}

metric!(
    /// Counters that differ in their labels.
    CounterFamily,
    /// A number that only grows.
    Counter
);
metric!(
    /// Gauges that differ in their labels.
    GaugeFamily,
    /// A number that goes up and down.
    Gauge
);
metric!(
    /// Histograms that differ in their labels.
    HistogramFamily,
    /// A distribution, usually of seconds.
    Histogram
);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.add(1.0);
    }

    /// Adds a number that is not negative.
    pub fn add(&self, by: f64) {
        self.0.add(by);
    }

    /// The present value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.value.load(Ordering::Relaxed))
    }
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.value.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds, or takes away a negative number.
    pub fn add(&self, by: f64) {
        self.0.add(by);
    }

    /// The present value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.value.load(Ordering::Relaxed))
    }
}

impl Histogram {
    /// Counts one value.
    pub fn observe(&self, value: f64) {
        if let Some(index) = self.1.bounds.iter().position(|bound| value <= *bound) {
            self.0.buckets[index].fetch_add(1, Ordering::Relaxed);
        }
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.add(value);
    }

    /// Counts a time span in seconds.
    pub fn observe_duration(&self, value: Duration) {
        self.observe(value.as_secs_f64());
    }

    /// Counts the seconds since a start.
    pub fn observe_since(&self, start: Instant) {
        self.observe_duration(start.elapsed());
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Family {
    fn series(&self, values: &[&str]) -> Arc<Series> {
        // A caller that gives too few or too many values would corrupt the format for every reader.
        let mut key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        key.resize(self.labels.len(), String::new());
        if let Some(series) = self.series.read().get(&key) {
            return Arc::clone(series);
        }
        let mut series = self.series.write();
        Arc::clone(series.entry(key).or_insert_with(|| {
            Arc::new(Series {
                value: AtomicU64::new(0f64.to_bits()),
                count: AtomicU64::new(0),
                buckets: self.bounds.iter().map(|_| AtomicU64::new(0)).collect(),
            })
        }))
    }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    fn family(&self, name: &str, help: &str, kind: Kind, labels: &[&str], bounds: &[f64]) -> Arc<Family> {
        let mut families = self.families.write();
        let family = families.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Family {
                help: help.to_owned(),
                kind,
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                bounds: bounds.to_vec(),
                series: RwLock::default(),
            })
        });
        debug_assert_eq!(family.kind, kind, "metric {name} is declared as two kinds");
        Arc::clone(family)
    }

    /// Declares a counter; declaring the same name again gives the same family.
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> CounterFamily {
        CounterFamily(self.family(name, help, Kind::Counter, labels, &[]))
    }

    /// Declares a gauge.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> GaugeFamily {
        GaugeFamily(self.family(name, help, Kind::Gauge, labels, &[]))
    }

    /// Declares a histogram with [`DEFAULT_BUCKETS`].
    pub fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> HistogramFamily {
        self.histogram_with(name, help, labels, DEFAULT_BUCKETS)
    }

    /// Declares a histogram with [`LEDGER_BUCKETS`].
    pub fn ledger_histogram(&self, name: &str, help: &str, labels: &[&str]) -> HistogramFamily {
        self.histogram_with(name, help, labels, LEDGER_BUCKETS)
    }

    /// Declares a histogram with the given upper bounds, ascending.
    pub fn histogram_with(&self, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramFamily {
        HistogramFamily(self.family(name, help, Kind::Histogram, labels, bounds))
    }

    /// Runs before every scrape, to bring gauges up to date.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.refreshers.write().push(Box::new(refresh));
    }

    /// Declares the process's own figures (`process_cpu_seconds_total` and friends) and those of its log.
    pub fn process(&self) {
        crate::process::declare(self);
        let checked = self.counter(
            "logging_entries_checked",
            "Number of log entries checked against the active logging level.",
            &["level"],
        );
        let written = self.counter("logging_entries_written", "Number of log entries that are written.", &["level"]);
        self.on_scrape(move || {
            for (level, count) in crate::logging::written() {
                // Entries below the level are never made, so what is checked is also written.
                for counter in [checked.with(&[level]), written.with(&[level])] {
                    counter.add(count as f64 - counter.get());
                }
            }
        });
    }

    /// Everything, as text format 0.0.4. Families without a line are left out.
    pub fn render(&self) -> String {
        for refresh in self.refreshers.read().iter() {
            refresh();
        }
        let mut out = String::new();
        for (name, family) in self.families.read().iter() {
            family.render(name, &mut out);
        }
        out
    }
}

impl Family {
    fn render(&self, name: &str, out: &mut String) {
        let mut lines: Vec<(String, Arc<Series>)> = self
            .series
            .read()
            .iter()
            .map(|(values, series)| {
                let mut pairs: Vec<(&String, &String)> = self.labels.iter().zip(values).collect();
                pairs.sort();
                let text: Vec<String> =
                    pairs.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
                (text.join(","), Arc::clone(series))
            })
            .collect();
        if lines.is_empty() {
            return;
        }
        lines.sort_by(|left, right| left.0.cmp(&right.0));
        let kind = match self.kind {
            // The process's CPU time is set from outside, and is still a counter for readers.
            Kind::Gauge if name.ends_with("_total") => "counter",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, series) in lines {
            let value = f64::from_bits(series.value.load(Ordering::Relaxed));
            let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            if self.kind != Kind::Histogram {
                let _ = writeln!(out, "{name}{braces} {value}");
                continue;
            }
            let comma = if labels.is_empty() { "" } else { "," };
            let mut total = 0;
            for (bound, bucket) in self.bounds.iter().zip(&series.buckets) {
                total += bucket.load(Ordering::Relaxed);
                let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
            }
            let count = series.count.load(Ordering::Relaxed).max(total);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{braces} {value}\n{name}_count{braces} {count}");
        }
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_prometheus_reads() {
        let metrics = Metrics::new();
        let proposals = metrics.counter("endorser_proposals_received", "Proposals.", &[]);
        proposals.with(&[]).add(2.0);
        let duration = metrics.histogram_with("b_duration", "Time.", &["success", "channel"], &[0.5, 1.0]);
        duration.with(&["true", "a\"b"]).observe(0.25);
        duration.with(&["true", "a\"b"]).observe(0.75);
        duration.with(&["true", "a\"b"]).observe(8.0);
        metrics.gauge("unused", "Never set.", &["x"]);
        assert_eq!(
            metrics.render(),
            "# HELP b_duration Time.\n# TYPE b_duration histogram\n\
             b_duration_bucket{channel=\"a\\\"b\",success=\"true\",le=\"0.5\"} 1\n\
             b_duration_bucket{channel=\"a\\\"b\",success=\"true\",le=\"1\"} 2\n\
             b_duration_bucket{channel=\"a\\\"b\",success=\"true\",le=\"+Inf\"} 3\n\
             b_duration_sum{channel=\"a\\\"b\",success=\"true\"} 9\n\
             b_duration_count{channel=\"a\\\"b\",success=\"true\"} 3\n\
             # HELP endorser_proposals_received Proposals.\n# TYPE endorser_proposals_received counter\n\
             endorser_proposals_received 2\n"
        );
    }

    #[test]
    fn process_figures_are_there() {
        let metrics = Metrics::new();
        metrics.process();
        let text = metrics.render();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter"), "{text}");
        let resident = text.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
        assert!(resident.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 100_000.0);
    }
}
