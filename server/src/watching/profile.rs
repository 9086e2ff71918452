//! Security profiles: what is normal for a device, in the shape of AWS IoT's `CreateSecurityProfile`, so that the same file is
//! taken by `aws iot create-security-profile --cli-input-json`.

use serde::{Deserialize, Serialize};

use super::metrics::{DeviceMetrics, MINUTES, Metric};

/// Most behaviours in all profiles together.
const BEHAVIORS_MAX: usize = 100;

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityProfile {
    /// Its name.
    pub security_profile_name: String,
    /// A sentence for people.
    #[serde(default)]
    pub security_profile_description: String,
    /// What is normal.
    pub behaviors: Vec<Behavior>,
}

/// A metric and the bound it keeps within.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behavior {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// The bound.
    pub criteria: Criteria,
}

/// The bound: normal is what compares so to the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Criteria {
    /// How the measured value compares to `value` while all is well.
    pub comparison_operator: Comparison,
    /// The threshold.
    pub value: Value,
    /// Time over which is counted, in seconds: 60 to 3600.
    pub duration_seconds: u64,
    /// Measurements in a row beyond the bound that raise an alert.
    #[serde(default = "one")]
    pub consecutive_datapoints_to_alarm: u32,
    /// Measurements in a row within the bound that end it.
    #[serde(default = "one")]
    pub consecutive_datapoints_to_clear: u32,
}

/// A threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// A number.
    pub count: u64,
}

/// AWS's comparisons of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Less.
    LessThan,
    /// Less or the same.
    LessThanEquals,
    /// More.
    GreaterThan,
    /// More or the same.
    GreaterThanEquals,
}

fn one() -> u32 {
    1
}

/// Why profiles can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON of this shape.
    #[error(
        "not security profiles: {0}; a profile, or a list of profiles, in the shape of AWS IoT's CreateSecurityProfile"
    )]
    Json(#[from] serde_json::Error),
    /// A behaviour that can't be measured.
    #[error("behavior {name:?}: {problem}")]
    Behavior {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Too many.
    #[error("there are {0} behaviors; the most is {BEHAVIORS_MAX}")]
    TooMany(usize),
}

/// Reads one profile or a list of them.
///
/// # Errors
/// [`ProfileError`].
pub fn from_json(text: &str) -> Result<Vec<SecurityProfile>, ProfileError> {
    let profiles: Vec<SecurityProfile> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)?
    } else {
        vec![serde_json::from_str(text)?]
    };
    let behaviors: Vec<&Behavior> = profiles.iter().flat_map(|profile| &profile.behaviors).collect();
    if behaviors.len() > BEHAVIORS_MAX {
        return Err(ProfileError::TooMany(behaviors.len()));
    }
    for behavior in behaviors {
        let problem = |problem: String| ProfileError::Behavior { name: behavior.name.clone(), problem };
        let Criteria {
            duration_seconds,
            consecutive_datapoints_to_alarm: alarm,
            consecutive_datapoints_to_clear: clear,
            ..
        } = behavior.criteria;
        if !(60..=MINUTES * 60).contains(&duration_seconds) {
            return Err(problem(format!(
                "durationSeconds is {duration_seconds}; 60 to {} can be measured",
                MINUTES * 60
            )));
        }
        if !(1..=10).contains(&alarm) || !(1..=10).contains(&clear) {
            return Err(problem("consecutiveDatapoints are 1 to 10, as in AWS".into()));
        }
    }
    Ok(profiles)
}

/// The profile that is used when no file is given.
#[must_use]
pub fn default() -> Vec<SecurityProfile> {
    let behavior = |name: &str, metric, count, duration_seconds| Behavior {
        name: name.into(),
        metric,
        criteria: Criteria {
            comparison_operator: Comparison::LessThan,
            value: Value { count },
            duration_seconds,
            consecutive_datapoints_to_alarm: 1,
            consecutive_datapoints_to_clear: 1,
        },
    };
    vec![SecurityProfile {
        security_profile_name: "sealift-default".into(),
        security_profile_description: "Any failed verification; refusals, strangers and floods beyond the usual".into(),
        behaviors: vec![
            behavior("no-failed-verification", Metric::FailedVerifications, 1, 300),
            behavior("few-refused-jobs", Metric::RefusedJobs, 3, 3_600),
            behavior("few-wrong-identities", Metric::WrongIdentities, 5, 300),
            behavior("no-flood", Metric::Messages, 6_000, 300),
        ],
    }]
}

impl Behavior {
    /// The value measured now, and whether it is within the bound.
    #[must_use]
    pub fn measure(&self, device: &DeviceMetrics, now: u64) -> (u64, bool) {
        let measured = device.over(self.metric, self.criteria.duration_seconds, now);
        let bound = self.criteria.value.count;
        let within = match self.criteria.comparison_operator {
            Comparison::LessThan => measured < bound,
            Comparison::LessThanEquals => measured <= bound,
            Comparison::GreaterThan => measured > bound,
            Comparison::GreaterThanEquals => measured >= bound,
        };
        (measured, within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"securityProfileName": "strict", "behaviors": [{"name": "quiet", "metric": "aws:num-messages-received",
        "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 2}, "durationSeconds": 300}}]}"#;

    #[test]
    fn a_profile_as_aws_takes_it_is_read_and_measured() {
        let profiles = from_json(FILE).unwrap();
        let behavior = &profiles[0].behaviors[0];
        let mut device = DeviceMetrics::default();
        for second in 0..3 {
            assert!(behavior.measure(&device, second).1);
            device.add(Metric::Messages, second);
        }
        assert_eq!(behavior.measure(&device, 3), (3, false));
        assert_eq!(behavior.measure(&device, 301), (0, true));
        assert_eq!(from_json(&format!("[{FILE},{FILE}]")).unwrap().len(), 2);
        // What the default says can be written to a file and read again.
        assert_eq!(from_json(&serde_json::to_string(&default()).unwrap()).unwrap(), default());
    }

    #[test]
    fn profiles_that_cannot_be_measured_are_refused_by_name() {
        for (from, to, word) in [
            ("\"durationSeconds\": 300", "\"durationSeconds\": 86400", "durationSeconds"),
            ("aws:num-messages-received", "aws:tcp-listening-ports", "unknown variant"),
            ("less-than-equals", "in-cidr-set", "unknown variant"),
            ("\"durationSeconds\"", "\"consecutiveDatapointsToAlarm\": 0, \"durationSeconds\"", "1 to 10"),
            ("\"criteria\"", "\"mlDetectionConfig\": {}, \"criteria\"", "unknown field"),
        ] {
            let error = from_json(&FILE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
