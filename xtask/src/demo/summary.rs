//! What the demo came to: for the closing tables, and for `--json`.

use serde_json::{Value, json};

use super::stage::Stage;

/// One attack and how it ended.
pub(super) struct Refusal {
    /// What the attacker did.
    pub(super) attack: &'static str,
    /// Who refused.
    pub(super) by: &'static str,
    /// The code that the story promises.
    pub(super) expected: &'static str,
    /// The code that came.
    pub(super) code: Option<String>,
    /// What came of it, in a sentence.
    pub(super) sentence: &'static str,
}

impl Refusal {
    /// Whether the attack ended as promised.
    pub(super) fn is_good(&self) -> bool {
        self.code.as_deref() == Some(self.expected)
    }
}

/// One device at the end.
pub(super) struct Runs {
    /// Its name.
    pub(super) thing: String,
    /// Its group.
    pub(super) group: String,
    /// What runs.
    pub(super) version: String,
    /// Its security counter.
    pub(super) counter: u64,
    /// What is proven of the rollout that was for it.
    pub(super) proven: String,
}

/// What the demo came to.
#[derive(Default)]
pub(super) struct Summary {
    /// Releases as `sealift` told them.
    pub(super) releases: Vec<Value>,
    /// Bytes of the update bundle.
    pub(super) bundle: Option<u64>,
    /// Bytes of the image of 1.1.0.
    pub(super) full: Option<u64>,
    /// Bytes of its delta.
    pub(super) delta: Option<u64>,
    /// Seconds from the rollout to the last confirmed device.
    pub(super) rollout_seconds: Option<f64>,
    /// The attacks.
    pub(super) refusals: Vec<Refusal>,
    /// The devices.
    pub(super) fleet: Vec<Runs>,
    /// What ended the story early.
    pub(super) failure: Option<String>,
    good: bool,
}

impl Summary {
    /// Remembers a release.
    pub(super) fn release(&mut self, release: &Value) {
        self.releases.push(release.clone());
    }

    /// Judges the whole.
    pub(super) fn finish(&mut self, stage: &Stage) {
        let steps = stage.steps().iter().all(|step| step.good);
        let refused = self.refusals.len() >= 6 && self.refusals.iter().all(Refusal::is_good);
        self.good = self.failure.is_none() && steps && refused && self.fleet.len() == 3;
    }

    /// Whether everything went as told.
    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    /// The closing tables.
    pub(super) fn print(&self, stage: &Stage) {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let mut fleet = vec![row(&["device", "group", "runs", "counter", "proven by its signed report"])];
        fleet.extend(
            self.fleet.iter().map(|it| row(&[&it.thing, &it.group, &it.version, &it.counter.to_string(), &it.proven])),
        );
        stage.table(&fleet);
        if let (Some(full), Some(delta)) = (self.full, self.delta) {
            println!();
            stage.table(&[
                row(&["what travelled", "bytes", "of the image"]),
                row(&["image of 1.1.0, whole", &full.to_string(), "100.0 %"]),
                row(&["delta from 1.0.0", &delta.to_string(), &format!("{:.1} %", delta as f64 * 100.0 / full as f64)]),
                row(&["bundle of signed metadata", &self.bundle.map_or("?".into(), |n| n.to_string()), ""]),
            ]);
        }
        if !self.refusals.is_empty() {
            println!();
            let mut table = vec![row(&["attack", "refused by", "code"])];
            for it in &self.refusals {
                let code = it.code.as_deref().unwrap_or("NOT REFUSED");
                let code = if it.is_good() { code.to_owned() } else { format!("{code} instead of {}", it.expected) };
                table.push(row(&[it.attack, it.by, &code]));
            }
            stage.table(&table);
        }
        println!();
        let steps = stage.steps();
        let failed = steps.iter().filter(|step| !step.good).count();
        let refused = self.refusals.iter().filter(|it| it.is_good()).count();
        stage.say(&format!(
            "{} steps, {failed} failed; {refused} of {} attacks refused as they should be; {:.0} s in all, the rollout {:.1} s.",
            steps.len(),
            self.refusals.len().max(6),
            stage.elapsed().as_secs_f64(),
            self.rollout_seconds.unwrap_or(0.0),
        ));
        if let Some(why) = &self.failure {
            stage.say(&format!("The story ended early: {why}"));
        }
        stage.say(if self.good { "DEMO PASSED" } else { "DEMO FAILED" });
    }

    /// Everything, for programs.
    pub(super) fn to_json(&self, stage: &Stage) -> Value {
        let steps = stage
            .steps()
            .iter()
            .map(|step| json!({"step": step.what, "ok": step.good, "seconds": step.took.as_secs_f64()}));
        let refusals = self.refusals.iter().map(|it| {
            json!({"attack": it.attack, "by": it.by, "expected": it.expected, "code": it.code, "ok": it.is_good(), "sentence": it.sentence})
        });
        let fleet = self.fleet.iter().map(|it| {
            json!({"thing": it.thing, "group": it.group, "version": it.version, "security_counter": it.counter, "proven": it.proven})
        });
        json!({
            "ok": self.good,
            "failure": self.failure,
            "seconds": stage.elapsed().as_secs_f64(),
            "steps": steps.collect::<Vec<_>>(),
            "releases": self.releases,
            "bytes": {"full": self.full, "delta": self.delta, "bundle": self.bundle},
            "rollout_seconds": self.rollout_seconds,
            "fleet": fleet.collect::<Vec<_>>(),
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }
}
