//! The text format, filled in family by family.

use claviger_actors::figures::{BOUNDS_US, Reading};
use prometheus::{
    Encoder as _, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Names and values of labels.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// Families in the making.
#[derive(Default)]
pub(super) struct Page(Vec<MetricFamily>);

impl Page {
    /// One number that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// Numbers that go up and down.
    pub(super) fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let metrics = values.into_iter().map(|(labels, value)| {
            let (mut metric, mut gauge) = (metric(labels), Gauge::default());
            gauge.set_value(value);
            metric.set_gauge(gauge);
            metric
        });
        self.family(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// One number that only grows.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) {
        let (mut metric, mut counter) = (metric(Vec::new()), Counter::default());
        counter.set_value(value);
        metric.set_counter(counter);
        self.family(name, help, MetricType::COUNTER, vec![metric]);
    }

    /// Numbers that only grow.
    pub(super) fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) {
        let metrics = values.into_iter().map(|(labels, value)| {
            let (mut metric, mut counter) = (metric(labels), Counter::default());
            counter.set_value(value as f64);
            metric.set_counter(counter);
            metric
        });
        self.family(name, help, MetricType::COUNTER, metrics.collect());
    }

    /// Histograms of times, in seconds.
    pub(super) fn timings<'a>(
        &mut self,
        name: &str,
        help: &str,
        readings: impl IntoIterator<Item = (Labels<'a>, Reading)>,
    ) {
        let metrics = readings.into_iter().map(|(labels, reading)| {
            let (mut metric, mut histogram) = (metric(labels), Histogram::default());
            let buckets = BOUNDS_US.iter().zip(&reading.cumulative).map(|(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound as f64 / 1e6);
                bucket.set_cumulative_count(*count);
                bucket
            });
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(reading.count());
            histogram.set_sample_sum(reading.sum.as_secs_f64());
            metric.set_histogram(histogram);
            metric
        });
        self.family(name, help, MetricType::HISTOGRAM, metrics.collect());
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// The text.
    pub(super) fn text(self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0, &mut text) {
            tracing::error!(%error, "the metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Puts counters of the same labels together: two problems may go by one code.
pub(super) fn merge(counters: &mut Vec<(Labels<'_>, u64)>) {
    counters.sort();
    counters.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

fn metric(labels: Labels<'_>) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}
