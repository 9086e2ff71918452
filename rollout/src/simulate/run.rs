//! The simulation itself.

use serde::Serialize;

use super::cost::{Cost, Prices};
use super::model::{Fleet, ModelError};
use crate::decide::{Action, decide};
use crate::observed::{Counts, JobObserved, Observed, Outcome, Standing, WaveObserved};
use crate::plan::{Plan, Rate, Wave};

/// How a rollout would go.
#[derive(Clone, Debug, Serialize)]
pub struct Simulation {
    /// How it ended; `None` when the simulated time ran out first.
    pub outcome: Option<Outcome>,
    /// Simulated minutes.
    pub minutes: u64,
    /// Devices that had started when it ended: those that an abort came too late for.
    pub exposed: u64,
    /// Devices that took the release and proved it.
    pub updated: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Numbers over time, one point an hour.
    pub timeline: Vec<Point>,
    /// The waves.
    pub waves: Vec<WaveSummary>,
    /// Bytes that devices fetched.
    pub bytes: u64,
    /// Bytes that they would have fetched without deltas.
    pub bytes_without_deltas: u64,
    /// What it costs.
    pub cost: Cost,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When: minutes from the start.
    pub minute: u64,
    /// What, in a sentence.
    pub what: String,
}

/// The numbers at one time, over all waves.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Point {
    /// When: minutes from the start.
    pub minute: u64,
    /// Devices by their state.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A wave at the end.
#[derive(Clone, Debug, Serialize)]
pub struct WaveSummary {
    /// Its name.
    pub name: String,
    /// Devices in it.
    pub devices: u64,
    /// When its first device was told: minutes from the start.
    pub started: Option<u64>,
    /// Its devices by their state.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Runs a plan against a fleet for at most `days`, from `start` (seconds since 1970-01-01T00:00:00Z) on. Approvals are
/// given as soon as they are asked for.
pub fn simulate(plan: &Plan, fleet: &Fleet, prices: &Prices, start: u64, days: u32) -> Result<Simulation, ModelError> {
    fleet.check()?;
    let mut world = World::new(plan, fleet);
    let mut ended = None;
    let minutes = u64::from(days) * 24 * 60;
    let mut minute = 0;
    while minute < minutes {
        world.arrive(minute);
        world.notify(minute);
        world.observe();
        if minute % 60 == 0 {
            world.timeline.push(Point { minute, counts: world.total() });
        }
        // As often as something changes: a decision may call for the next at once.
        while world.act(decide(plan, &world.observed, start + minute * 60), minute) {}
        if let Standing::Ended(outcome) = &world.observed.standing {
            ended.get_or_insert((outcome.clone(), world.total()));
            if world.total().open() == 0 || *outcome == Outcome::Completed {
                break;
            }
        }
        minute += 1;
    }
    world.timeline.push(Point { minute, counts: world.total() });
    let total = world.total();
    let at_end = ended.as_ref().map_or(total, |(_, counts)| *counts);
    Ok(Simulation {
        outcome: ended.map(|(outcome, _)| outcome),
        minutes: minute,
        exposed: at_end.in_progress + at_end.finished(),
        updated: total.proven,
        events: world.events,
        timeline: world.timeline,
        waves: world
            .waves
            .iter()
            .zip(&plan.waves)
            .map(|(wave, planned)| WaveSummary {
                name: planned.name.clone(),
                devices: wave.devices,
                started: wave.started,
                counts: wave.counts,
            })
            .collect(),
        bytes: world.bytes,
        bytes_without_deltas: world.bytes_without_deltas,
        cost: prices.cost(world.executions, world.bytes, world.bytes_without_deltas),
    })
}

/// What is simulated: the job service and the devices.
struct World<'p> {
    plan: &'p Plan,
    fleet: &'p Fleet,
    random: fastrand::Rng,
    observed: Observed,
    waves: Vec<WaveWorld>,
    /// What becomes true in which minute, as a calendar: one list a minute.
    calendar: Vec<Vec<Arrival>>,
    timeline: Vec<Point>,
    events: Vec<Event>,
    bytes: u64,
    bytes_without_deltas: u64,
    executions: u64,
}

#[derive(Default)]
struct WaveWorld {
    devices: u64,
    counts: Counts,
    started: Option<u64>,
    /// Devices of the present job that were not told yet.
    untold: u64,
    /// Devices that may be told now; the fraction is carried over.
    allowance: f64,
    rate: f64,
    succeeded_at_rate: u64,
}

/// A device of a wave, and what it does next. Eight bytes, for there are millions.
#[derive(Clone, Copy)]
struct Arrival {
    wave: u8,
    attempt: u8,
    retries: u8,
    what: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// It comes online and starts, if its job still runs.
    Start,
    Succeed,
    Fail,
    Reject,
    TimeOut,
}

/// Nothing that is simulated lasts longer: what falls later never comes.
const CALENDAR_MINUTES: u64 = 366 * 24 * 60;

impl<'p> World<'p> {
    fn new(plan: &'p Plan, fleet: &'p Fleet) -> Self {
        let mut left = u64::from(fleet.devices);
        let sizes = plan.waves.iter().enumerate().map(|(index, wave)| {
            let groups = wave
                .groups
                .iter()
                .filter_map(|group| fleet.groups.get(group.as_str()))
                .map(|size| u64::from(*size))
                .sum::<u64>();
            let buckets = plan.buckets_of(index).len() as u64 * u64::from(fleet.devices) / 100;
            let devices = (wave.things.len() as u64 + groups + buckets).min(left);
            left -= devices;
            WaveWorld { devices, rate: first_rate(wave), ..WaveWorld::default() }
        });
        let waves: Vec<WaveWorld> = sizes.collect();
        World {
            plan,
            fleet,
            random: fastrand::Rng::with_seed(fleet.seed),
            observed: Observed { waves: vec![WaveObserved::default(); waves.len()], ..Observed::default() },
            waves,
            calendar: Vec::new(),
            timeline: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            bytes_without_deltas: 0,
            executions: 0,
        }
    }

    fn total(&self) -> Counts {
        self.waves.iter().map(|wave| wave.counts).fold(Counts::default(), Counts::plus)
    }

    fn say(&mut self, minute: u64, what: String) {
        self.events.push(Event { minute, what });
    }

    fn put(&mut self, minute: u64, arrival: Arrival) {
        if minute >= CALENDAR_MINUTES {
            return;
        }
        let index = minute as usize;
        if self.calendar.len() <= index {
            self.calendar.resize_with(index + 1, Vec::new);
        }
        self.calendar[index].push(arrival);
    }

    /// A device of the job was told, or is to try again: it starts when it is online.
    fn await_online(&mut self, minute: u64, arrival: Arrival) {
        let offline = self.fleet.minutes_offline(&mut self.random);
        self.put(minute + 1 + offline as u64, Arrival { what: Next::Start, ..arrival });
    }

    /// The job service tells devices, as fast as the rate allows.
    fn notify(&mut self, minute: u64) {
        for index in 0..self.waves.len() {
            if self.observed.waves[index].job != JobObserved::InProgress {
                continue;
            }
            let attempt = self.observed.waves[index].attempt as u8;
            let wave = &mut self.waves[index];
            grow_rate(wave, &self.plan.waves[index]);
            // What was not used does not pile up.
            wave.allowance = wave.allowance.fract() + wave.rate;
            let told = (wave.allowance as u64).min(wave.untold);
            wave.untold -= told;
            for _ in 0..told {
                let metered = self.random.f64() < self.fleet.metered_share;
                let kept_out = metered && self.random.f64() >= self.fleet.delta_share;
                // A dead device, and one that may not take what there is for it, stay queued.
                if kept_out || self.random.f64() < self.fleet.dead_share {
                    continue;
                }
                self.await_online(minute, Arrival { wave: index as u8, attempt, retries: 0, what: Next::Start });
            }
        }
    }

    /// What the calendar has for this minute.
    fn arrive(&mut self, minute: u64) {
        let Some(list) = self.calendar.get_mut(minute as usize).map(std::mem::take) else {
            return;
        };
        for arrival in list {
            let index = usize::from(arrival.wave);
            let counts = &mut self.waves[index].counts;
            let retry = match arrival.what {
                Next::Start => {
                    self.start(minute, arrival);
                    continue;
                }
                Next::Succeed => {
                    counts.in_progress -= 1;
                    let unproven = self.random.f64() < self.fleet.unproven_share;
                    *(if unproven { &mut counts.unproven } else { &mut counts.proven }) += 1;
                    continue;
                }
                Next::Reject => {
                    counts.in_progress -= 1;
                    counts.rejected += 1;
                    continue;
                }
                Next::Fail => &mut counts.failed,
                Next::TimeOut => &mut counts.timed_out,
            };
            // AWS retries these two alone, and only while the job runs.
            let runs = self.observed.waves[index].job == JobObserved::InProgress;
            if runs && u32::from(arrival.retries) < self.plan.waves[index].retries {
                counts.in_progress -= 1;
                counts.queued += 1;
                self.await_online(minute, Arrival { retries: arrival.retries + 1, ..arrival });
            } else {
                *retry += 1;
                counts.in_progress -= 1;
            }
        }
    }

    /// A device asks for its job and works on it.
    fn start(&mut self, minute: u64, arrival: Arrival) {
        let index = usize::from(arrival.wave);
        let seen = &self.observed.waves[index];
        if seen.job != JobObserved::InProgress || seen.attempt as u8 != arrival.attempt {
            return;
        }
        let counts = &mut self.waves[index].counts;
        counts.queued -= 1;
        counts.in_progress += 1;
        self.executions += 1;
        let fate = self.random.f64();
        let (rejected, lost) = (self.fleet.rejection_share, self.fleet.lost_share);
        if fate < rejected {
            return self.put(minute + 1, Arrival { what: Next::Reject, ..arrival });
        }
        let bytes =
            if self.random.f64() < self.fleet.delta_share { self.fleet.delta_bytes } else { self.fleet.full_bytes };
        self.bytes += bytes;
        self.bytes_without_deltas += self.fleet.full_bytes;
        let timeout = self.plan.waves[index].timeout.seconds / 60;
        let takes = self.fleet.minutes_download(bytes, &mut self.random) + self.fleet.install_minutes;
        let takes = 1 + takes as u64;
        let (after, what) = if fate < rejected + lost || takes > timeout {
            (timeout, Next::TimeOut)
        } else if self.random.f64() < self.fleet.failure_share {
            (takes, Next::Fail)
        } else {
            (takes, Next::Succeed)
        };
        self.put(minute + after, Arrival { what, ..arrival });
    }

    /// What the job service would say.
    fn observe(&mut self) {
        for (seen, wave) in self.observed.waves.iter_mut().zip(&self.waves) {
            seen.counts = wave.counts;
            if seen.job == JobObserved::InProgress && wave.counts.open() == 0 {
                seen.job = JobObserved::Completed;
            }
        }
    }

    /// Does what was decided; says whether the next decision may differ at once.
    fn act(&mut self, actions: Vec<Action>, minute: u64) -> bool {
        let mut changed = false;
        for action in actions {
            match action {
                Action::CreateJob { wave: index, attempt } => {
                    let name = &self.plan.waves[index].name;
                    let wave = &mut self.waves[index];
                    let taken = if attempt == 0 { wave.devices } else { wave.counts.cancelled };
                    wave.counts.queued += taken;
                    wave.counts.cancelled = 0;
                    wave.untold = taken;
                    wave.started.get_or_insert(minute);
                    let seen = &mut self.observed.waves[index];
                    (seen.job, seen.attempt, seen.counts) = (JobObserved::InProgress, attempt, wave.counts);
                    let what = format!("wave `{name}` starts: {taken} devices");
                    self.say(minute, what);
                    changed = true;
                }
                Action::CancelJob { wave: index } => {
                    let counts = &mut self.waves[index].counts;
                    counts.cancelled += std::mem::take(&mut counts.queued);
                    self.waves[index].untold = 0;
                    self.observed.waves[index].job = JobObserved::Cancelled;
                    self.observed.waves[index].counts = self.waves[index].counts;
                    let name = &self.plan.waves[index].name;
                    let what = format!(
                        "wave `{name}` is cancelled: {} devices are spared",
                        self.waves[index].counts.cancelled
                    );
                    self.say(minute, what);
                }
                Action::RecordGate { wave, since } => {
                    self.observed.waves[wave].gate_held_since = since;
                    let name = &self.plan.waves[wave].name;
                    let what = match since {
                        Some(_) => format!("the gate of wave `{name}` holds"),
                        None => format!("the gate of wave `{name}` no longer holds"),
                    };
                    self.say(minute, what);
                    changed = true;
                }
                Action::End(outcome) => {
                    self.say(minute, describe(&outcome));
                    self.observed.standing = Standing::Ended(outcome);
                    changed = true;
                }
                Action::AwaitApproval { wave } => {
                    self.observed.waves[wave].approved = true;
                    let what = format!("somebody must approve the step on from wave `{}`", self.plan.waves[wave].name);
                    self.say(minute, what);
                    changed = true;
                }
                Action::WaitUntil(_) => {}
            }
        }
        changed
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed => "every wave is done".to_owned(),
        Outcome::Aborted { wave, reason } => format!("aborted in wave {}: {reason}", wave + 1),
        Outcome::AbortedByHand => "aborted by hand".to_owned(),
        Outcome::CancelledElsewhere { wave } => format!("the job of wave {} was cancelled by somebody else", wave + 1),
    }
}

fn first_rate(wave: &Wave) -> f64 {
    match wave.rate {
        Rate::Constant(rate) => f64::from(rate),
        Rate::Exponential(rate) => f64::from(rate.base),
    }
}

/// AWS multiplies the rate each time so many more devices have succeeded.
fn grow_rate(wave: &mut WaveWorld, planned: &Wave) {
    let Rate::Exponential(rate) = planned.rate else {
        return;
    };
    let succeeded = wave.counts.proven + wave.counts.unproven;
    while succeeded - wave.succeeded_at_rate >= u64::from(rate.succeeded) {
        wave.succeeded_at_rate += u64::from(rate.succeeded);
        wave.rate = (wave.rate * rate.factor).min(f64::from(rate.max));
    }
}
