//! What a rollout costs, by a price list that is a file: prices change, and differ by region.

use serde::{Deserialize, Serialize};

/// Prices in US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prices {
    /// Per remote action of AWS IoT Device Management: one job execution of one device.
    pub job_execution: f64,
    /// Per million messages of AWS IoT Core; a job takes about six.
    pub million_messages: f64,
    /// Per GB sent to the internet.
    pub gigabyte_out: f64,
    /// Per 1,000 GET requests to S3.
    pub thousand_gets: f64,
}

impl Default for Prices {
    /// Of the order of AWS's list prices; read the list of your region and write your own file.
    fn default() -> Self {
        Prices { job_execution: 0.003, million_messages: 1.0, gigabyte_out: 0.09, thousand_gets: 0.0004 }
    }
}

/// What it comes to, in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Job executions and their messages.
    pub jobs: f64,
    /// Traffic and requests.
    pub traffic: f64,
    /// Traffic, had every device taken the full image.
    pub traffic_without_deltas: f64,
}

/// Messages of one job execution: notification, start, two updates and their answers.
const MESSAGES_PER_EXECUTION: f64 = 6.0;

impl Prices {
    /// The cost of `executions` that fetched `bytes`; `full` is what they would have fetched without deltas.
    pub(super) fn cost(&self, executions: u64, bytes: u64, full: u64) -> Cost {
        let executions = executions as f64;
        let requests = executions / 1_000.0 * self.thousand_gets;
        let traffic = |bytes: u64| bytes as f64 / 1e9 * self.gigabyte_out + requests;
        Cost {
            jobs: executions * (self.job_execution + MESSAGES_PER_EXECUTION * self.million_messages / 1e6),
            traffic: traffic(bytes),
            traffic_without_deltas: traffic(full),
        }
    }
}
