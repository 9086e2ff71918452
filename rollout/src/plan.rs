//! The plan file: TOML in, typed plan out. Everything that can be wrong with it is said before anything is touched.

use std::collections::BTreeSet;
use std::fmt;

use jiff::SignedDuration;
use sealift_jobs::limits;
use sealift_jobs::{GroupName, ThingName};
use serde::{Deserialize, Serialize};

/// A rollout of one release, wave by wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// The product; its bucket groups make the percentages.
    pub product: String,
    /// The release, by its version.
    pub version: String,
    /// Permutes the buckets, so that not always the same devices go first. Left out: by hash of product and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// When jobs may be created: every day, UTC. Left out: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Not before this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<jiff::Timestamp>,
    /// Thing groups whose devices have metered links: a wave that names one of them offers deltas alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metered_groups: Vec<GroupName>,
    /// The waves, in their order.
    #[serde(rename = "wave")]
    pub waves: Vec<Wave>,
}

/// Devices that are updated by one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wave {
    /// A name for people; unique in the plan.
    pub name: String,
    /// Up to this percentage of the product's devices, those of earlier waves included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Thing groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Named things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub things: Vec<ThingName>,
    /// Offers deltas alone: where whole images are isn't told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delta_only: bool,
    /// How fast devices are told.
    #[serde(default)]
    pub rate: Rate,
    /// How long a device may take from its start to its end.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// How often a device tries again after a failure that may pass.
    #[serde(default)]
    pub retries: u32,
    /// What must hold before the next wave starts.
    #[serde(default)]
    pub gate: Gate,
    /// What stops the whole rollout.
    #[serde(default = "default_abort")]
    pub abort: Vec<Abort>,
}

/// How many devices are told per minute (AWS: `JobExecutionsRolloutConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rate {
    /// A constant number.
    Constant(u32),
    /// One that grows as devices succeed.
    Exponential(Exponential),
}

/// A rate that is multiplied by `factor` for every `succeeded` devices that made it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// Devices per minute at first: 1 to 1,000.
    pub base: u32,
    /// The factor: 1.1 to 5, one decimal.
    pub factor: f64,
    /// After how many more successes it is applied.
    pub succeeded: u32,
    /// Most devices per minute: 1 to 1,000.
    pub max: u32,
}

/// What must hold before the next wave starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Gate {
    /// Least share of the finished devices that succeeded, proven by their signed reports: 0 to 1.
    pub success_ratio: f64,
    /// Least number of finished devices.
    pub min_finished: u64,
    /// How long the two must have held.
    pub soak: Span,
    /// Whether somebody must approve.
    pub approval: bool,
}

/// A threshold that stops the whole rollout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Abort {
    /// Which ends count.
    pub on: FailureType,
    /// At this percentage of the finished devices; two decimals.
    pub percent: f64,
    /// Not before this many have finished.
    pub min_finished: u64,
}

/// How a device can fail (AWS: `JobExecutionFailureType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureType {
    /// It tried and could not.
    Failed,
    /// It refused.
    Rejected,
    /// It was not heard of again in time.
    TimedOut,
    /// Any of these.
    All,
}

/// A daily span of time, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its begin, `22:00`.
    pub from: jiff::civil::Time,
    /// Its end; before `from` it is that of the next day.
    pub to: jiff::civil::Time,
    /// Whether devices that have not started are taken out at its end, and told again when it opens. AWS IoT Jobs can't
    /// pause: each day's window is a job of its own, which AWS charges for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

/// A length of time, written as people do: `90m`, `24h`, `7 days`. In whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Seconds.
    pub seconds: u64,
}

/// What is wrong with a plan, and where.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not the TOML of a plan.
    #[error("the plan does not read: {0}")]
    Toml(#[from] toml::de::Error),
    /// A field has a value that cannot work.
    #[error("`{field}`: {problem}")]
    Field {
        /// The field, as a path: `wave[2].rate`.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Plan {
    /// Reads and checks a plan.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let plan: Plan = toml::from_str(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// The seed, chosen or made of product and version.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            use sha2::{Digest, Sha256};
            let digest: [u8; 32] = Sha256::digest(format!("{}\n{}", self.product, self.version)).into();
            digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
        })
    }

    /// The buckets that a wave adds to those of earlier waves, in the rollout's order.
    pub fn buckets_of(&self, wave: usize) -> Vec<u8> {
        let percent = |wave: &Wave| wave.percent.map_or(0, usize::from);
        let upto = self.waves.get(wave).map_or(0, percent);
        let before = self.waves.iter().take(wave).map(percent).max().unwrap_or(0);
        crate::buckets::order(self.seed()).into_iter().take(upto).skip(before).collect()
    }

    /// The job targets of a wave: thing groups and things.
    pub fn targets_of(&self, wave: usize) -> Targets {
        let buckets = self.buckets_of(wave).into_iter().map(|bucket| crate::buckets::group_name(&self.product, bucket));
        let named = self.waves.get(wave);
        Targets {
            groups: named.into_iter().flat_map(|wave| &wave.groups).map(ToString::to_string).chain(buckets).collect(),
            things: named.map(|wave| wave.things.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        }
    }

    /// Whether a wave offers deltas alone, by itself or because it is for metered groups.
    pub fn is_delta_only(&self, wave: usize) -> bool {
        self.waves
            .get(wave)
            .is_some_and(|wave| wave.delta_only || wave.groups.iter().any(|group| self.metered_groups.contains(group)))
    }

    /// Whether the devices of a wave that have not started are to be taken out now, since its time of day is over.
    pub fn is_held(&self, now: u64) -> bool {
        self.window.is_some_and(|window| window.hold && window.opens_in(now).is_some())
    }

    /// Whether it can be carried out. [`Plan::from_toml`] asks; a plan that a program made is asked before it starts.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.waves.is_empty() {
            return refuse("wave", "a plan needs at least one wave");
        }
        if self.waves.len() > 64 {
            return refuse("wave", "at most 64 waves");
        }
        let mut names = BTreeSet::new();
        let mut things = BTreeSet::new();
        let mut groups = BTreeSet::new();
        let mut percent = 0;
        for (index, wave) in self.waves.iter().enumerate() {
            let at = |field: &str| format!("wave[{index}] ({}).{field}", wave.name);
            if wave.name.is_empty() || !names.insert(&wave.name) {
                return refuse(at("name"), "every wave needs a name of its own");
            }
            let named = wave.groups.len() + wave.things.len();
            if (named > 0) == wave.percent.is_some() {
                return refuse(at("percent"), "a wave is made of either `percent` or `groups` and `things`");
            }
            if named > limits::JOB_TARGETS_MAX {
                return refuse(at("things"), "at most 100 groups and things: AWS allows no more targets in a job");
            }
            if let Some(upto) = wave.percent {
                if upto <= percent || upto > 100 {
                    let problem = format!(
                        "{upto} % adds nobody: percentages grow from wave to wave, above {percent} and up to 100"
                    );
                    return refuse(at("percent"), problem);
                }
                percent = upto;
            }
            if let Some(twice) = wave.things.iter().find(|thing| !things.insert(thing.as_str().to_owned())) {
                return refuse(at("things"), format!("`{twice}` is named twice"));
            }
            if let Some(twice) = wave.groups.iter().find(|group| !groups.insert(group.as_str().to_owned())) {
                return refuse(at("groups"), format!("`{twice}` is named twice"));
            }
            // One job has one document: in a wave of both kinds one of them would get the other's.
            let metered = wave.groups.iter().filter(|group| self.metered_groups.contains(group)).count();
            if metered > 0 && metered < named {
                return refuse(at("groups"), "metered groups need a wave of their own: one job offers the same to all");
            }
            wave.check(&at)?;
        }
        if let Some(unused) = self.metered_groups.iter().find(|group| !groups.contains(group.as_str())) {
            return refuse("metered-groups", format!("no wave names `{unused}`; give it a wave of its own"));
        }
        if let Some(window) = self.window.filter(|window| window.from == window.to) {
            return refuse("window", format!("from {} to {} is no time at all", window.from, window.to));
        }
        Ok(())
    }
}

/// The targets of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    /// Thing groups.
    pub groups: Vec<String>,
    /// Things.
    pub things: Vec<String>,
}

impl Wave {
    /// A wave of groups and things with everything else as it is when a plan says nothing.
    #[must_use]
    pub fn of(name: &str, groups: Vec<GroupName>, things: Vec<ThingName>) -> Self {
        Wave {
            name: name.to_owned(),
            percent: None,
            groups,
            things,
            delta_only: false,
            rate: Rate::default(),
            timeout: default_timeout(),
            retries: 0,
            gate: Gate::default(),
            abort: default_abort(),
        }
    }

    fn check(&self, at: &dyn Fn(&str) -> String) -> Result<(), PlanError> {
        let per_minute = |field: &str, value: u32| match value {
            1..=1000 => Ok(()),
            _ => refuse(at(field), format!("{value} devices per minute: AWS allows 1 to 1000")),
        };
        match self.rate {
            Rate::Constant(rate) => per_minute("rate", rate)?,
            Rate::Exponential(rate) => {
                per_minute("rate.base", rate.base)?;
                per_minute("rate.max", rate.max)?;
                if rate.max < rate.base {
                    return refuse(at("rate.max"), "must not be below `base`");
                }
                if !(1.1..=5.0).contains(&rate.factor) || !has_decimals(rate.factor, 1) {
                    return refuse(at("rate.factor"), "AWS allows 1.1 to 5.0, one decimal");
                }
                if rate.succeeded == 0 {
                    return refuse(at("rate.succeeded"), "must be at least 1");
                }
            }
        }
        let minutes = self.timeout.seconds / 60;
        if !(1..=limits::TIMEOUT_MAX_MINUTES as u64).contains(&minutes) {
            return refuse(at("timeout"), "AWS allows 1 minute to 7 days");
        }
        if self.retries > limits::RETRIES_MAX {
            return refuse(at("retries"), format!("AWS allows at most {}", limits::RETRIES_MAX));
        }
        if !(0.0..=1.0).contains(&self.gate.success_ratio) {
            return refuse(at("gate.success-ratio"), "a share from 0 to 1");
        }
        let mut types = BTreeSet::new();
        for abort in &self.abort {
            if !(abort.percent > 0.0 && abort.percent <= 100.0 && has_decimals(abort.percent, 2)) {
                return refuse(at("abort.percent"), "above 0 and up to 100, two decimals");
            }
            if abort.min_finished == 0 {
                return refuse(at("abort.min-finished"), "must be at least 1");
            }
            if !types.insert(abort.on) {
                return refuse(at("abort.on"), "one threshold per failure type");
            }
        }
        Ok(())
    }
}

fn has_decimals(value: f64, decimals: i32) -> bool {
    let scaled = value * 10f64.powi(decimals);
    (scaled - scaled.round()).abs() < 1e-6
}

fn refuse<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::Field { field: field.into(), problem: problem.into() })
}

impl Default for Rate {
    /// Half of what AWS allows.
    fn default() -> Self {
        Rate::Constant(500)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate { success_ratio: 0.95, min_finished: 1, soak: Span::default(), approval: false }
    }
}

fn default_timeout() -> Span {
    Span { seconds: 24 * 3600 }
}

/// One device in twenty, of at least ten: a plan that says nothing still stops itself.
fn default_abort() -> Vec<Abort> {
    vec![Abort { on: FailureType::All, percent: 5.0, min_finished: 10 }]
}

impl Window {
    /// Whether jobs may be created at this time of day; and if not, in how many seconds the window opens.
    pub fn opens_in(&self, now: u64) -> Option<u64> {
        const DAY: u64 = 86_400;
        let second = |time: jiff::civil::Time| -> u64 {
            let parts = [(time.hour(), 3600), (time.minute(), 60), (time.second(), 1)];
            parts.iter().map(|(part, unit)| u64::from(part.unsigned_abs()) * unit).sum()
        };
        let (from, to, now) = (second(self.from), second(self.to), now % DAY);
        let open = if from < to { (from..to).contains(&now) } else { now >= from || now < to };
        (!open).then(|| (from + DAY - now) % DAY)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = SignedDuration::from_secs(i64::try_from(self.seconds).unwrap_or(i64::MAX));
        write!(f, "{duration:#}")
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || serde::de::Error::custom(format!("`{text}` is no length of time; write it like \"90m\" or \"7 days\""));
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        // Days of 24 hours: a soak time is no matter of calendars.
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        u64::try_from(duration.as_secs()).map(|seconds| Span { seconds }).map_err(|_| wrong())
    }
}
