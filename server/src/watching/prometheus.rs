//! Totals in Prometheus' text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>). No device's name is a
//! label: the number of series follows from this file, not from the fleet.

use std::fmt::Write as _;

use super::Totals;
use super::metrics::Metric;

/// One family of series.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

fn family(out: &mut String, family: &Family<'_>, rows: impl IntoIterator<Item = (Option<(String, String)>, u64)>) {
    let Family { name, kind, help } = family;
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (label, value) in rows {
        let _ = match label {
            // Labels are our own words: codes, states, names of counters.
            Some((key, label)) => {
                writeln!(out, "{name}{{{key}=\"{}\"}} {value}", label.replace(['"', '\\', '\n'], "_"))
            }
            None => writeln!(out, "{name} {value}"),
        };
    }
}

/// The page.
#[must_use]
pub fn page(totals: &Totals, mqtt: &[(&'static str, u64)], version: &str) -> String {
    let mut out = String::new();
    let counter = |name, help| Family { name, kind: "counter", help };
    let gauge = |name, help| Family { name, kind: "gauge", help };
    let label = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    family(&mut out, &gauge("sealift_info", "The server's version."), [(label("version", version), 1)]);
    family(
        &mut out,
        &counter("sealift_device_events_total", "What the metrics of all devices add up to since the server started."),
        Metric::ALL
            .map(|metric| (label("metric", metric.name()), totals.metrics.get(metric.name()).copied().unwrap_or(0))),
    );
    family(
        &mut out,
        &counter("sealift_job_updates_total", "Updates of job executions that were taken, by status."),
        totals.updates.iter().map(|(status, count)| (label("status", status), *count)),
    );
    family(
        &mut out,
        &counter("sealift_job_requests_refused_total", "Requests of devices that the Jobs rules refused, by code."),
        totals.refused.iter().map(|(code, count)| (label("code", code), *count)),
    );
    family(&mut out, &counter("sealift_alerts_total", "Alerts that were raised."), [(None, totals.alerts_raised)]);
    family(&mut out, &gauge("sealift_alerts_open", "Alerts that are open."), [(None, totals.alerts_open)]);
    family(&mut out, &gauge("sealift_devices_seen", "Devices that were heard of."), [(None, totals.devices_seen)]);
    let (open, rest): (Vec<_>, Vec<_>) = mqtt.iter().partition(|(name, _)| *name == "open");
    family(
        &mut out,
        &gauge("sealift_mqtt_connections", "MQTT connections that are open."),
        open.into_iter().map(|(_, value)| (None, value)),
    );
    family(
        &mut out,
        &counter("sealift_mqtt_events_total", "What happened on MQTT, by kind."),
        rest.into_iter().map(|(name, value)| (label("event", name), value)),
    );
    out
}
