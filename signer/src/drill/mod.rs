//! The rehearsal of a key compromise: on a copy of the project, with stand-in keys, end to end with devices that decide with
//! the verifier's own code. The original is read, and compared afterwards.

mod device;
mod rehearsal;
mod thief;

use std::fs;
use std::path::Path;
use std::time::Instant;

use sealift_manifests::{Digest, Role, Version, sha256};
use sealift_verifier::{Disposition, Error as Refusal};

use crate::ceremony::path_of;
use crate::error::{Error, Result};
use crate::keys::open_existing;
use crate::project::Project;
use device::{Device, Served};
use rehearsal::Rehearsal;
use thief::{Aim, Thief};

/// A thief who signs this version strands every device that takes it, until the thief's keys are revoked.
const FAR: u64 = 1 << 63;

/// One step of the rehearsal.
#[derive(Debug)]
pub struct Step {
    /// What was tried.
    pub what: String,
    /// What came of it.
    pub outcome: String,
    /// The refusal's code, where it was one.
    pub code: Option<u16>,
    /// Whether it came out as it has to.
    pub ok: bool,
    /// How long it took.
    pub millis: u128,
}

/// What a rehearsal showed.
#[derive(Debug)]
pub struct Drill {
    /// The role whose keys were stolen.
    pub role: String,
    /// Names of the stolen keys.
    pub stolen: Vec<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// How long the answer took: from the discovery until the last device ran the recovery release.
    pub recovery_millis: u128,
    /// How long everything took.
    pub millis: u128,
}

impl Drill {
    /// Whether every step came out as it has to.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    fn step<T>(&mut self, what: impl Into<String>, act: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let began = Instant::now();
        let (value, outcome) = act()?;
        let millis = began.elapsed().as_millis();
        self.steps.push(Step { what: what.into(), outcome, code: None, ok: true, millis });
        Ok(value)
    }

    /// A device takes what is served.
    fn accepts(&mut self, device: &mut Device, served: &Served, wanted: Option<&Digest>, now: u64, what: &str) {
        let began = Instant::now();
        let result = device.update(served, wanted, now);
        let millis = began.elapsed().as_millis();
        let (outcome, code, ok) = match result {
            Ok(version) => (format!("runs {version}, trusts root {}", device.root_version()), None, true),
            Err(error) => (error.to_string(), Some(error.code()), false),
        };
        self.steps.push(Step { what: format!("{}: {what}", device.name), outcome, code, ok, millis });
    }

    /// A device refuses what is served, with one of these codes, and goes on running what it ran.
    fn refuses(
        &mut self,
        device: &mut Device,
        served: &Served,
        codes: &[u16],
        now: u64,
        what: &str,
    ) -> Option<Refusal> {
        let began = Instant::now();
        let runs = device.runs;
        let result = device.update(served, None, now);
        let millis = began.elapsed().as_millis();
        let kept = device.runs == runs;
        let (outcome, code, ok, refusal) = match result {
            Ok(version) => (format!("installed {version}"), None, false, None),
            Err(error) => {
                let fate = match error.disposition() {
                    Disposition::Permanent => "REJECTED",
                    Disposition::Transient | Disposition::Stale => "FAILED, tried again",
                };
                (format!("{error} ({fate})"), Some(error.code()), kept && codes.contains(&error.code()), Some(error))
            }
        };
        self.steps.push(Step { what: format!("{}: {what}", device.name), outcome, code, ok, millis });
        refusal
    }
}

/// Hash over the project file, its log, and every file of its repository.
fn fingerprint(project: &Project) -> Result<Digest> {
    fn walk(path: &Path, into: &mut Vec<u8>) -> std::io::Result<()> {
        if path.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            return entries.iter().try_for_each(|entry| walk(&entry.path(), into));
        }
        if path.exists() {
            into.extend(path.as_os_str().as_encoded_bytes());
            into.extend(sha256(&fs::read(path)?).0);
        }
        Ok(())
    }
    let mut bytes = Vec::new();
    for path in [&project.file, &path_of(&project.file), &project.directory] {
        walk(path, &mut bytes).map_err(Error::io("read", path))?;
    }
    Ok(sha256(&bytes))
}

/// The newest release of a product, or something to begin with.
fn newest(rehearsal: &Rehearsal, product: &str) -> Result<Option<(Version, u64, Digest)>> {
    let (name, _) = rehearsal.project.delegation_of(product)?;
    let files = rehearsal.files()?;
    let Some((_, targets)) = files.delegated(name)? else { return Ok(None) };
    let of_it = targets.targets.iter().filter(|target| target.product == product);
    Ok(of_it.max_by_key(|target| target.version).map(|it| (it.version, it.security_counter, it.image.digest)))
}

fn following(version: Version) -> Version {
    let [major, minor, patch] = version.0;
    Version([major, minor, patch.saturating_add(1)])
}

/// Rehearses the theft of `role`'s keys: a top-level role's, or a delegation's.
pub fn key_compromise(project: &Project, role: &str, development: bool, now: u64) -> Result<Drill> {
    let began = Instant::now();
    let top = Role::ALL.into_iter().find(|known| known.name() == role);
    if top.is_none() && !project.delegations.contains_key(role) {
        let delegations: Vec<_> = project.delegations.keys().map(String::as_str).collect();
        return Err(Error::usage(
            format!("there is no role `{role}`"),
            format!("choose root, targets, snapshot, timestamp, or a delegation: {}", delegations.join(", ")),
        ));
    }
    if top == Some(Role::Root) && project.role(Role::Root).threshold < 2 {
        return Err(Error::refused(
            "one root key is the threshold: whoever has it owns the fleet, and nothing but reflashing every device helps",
            "raise the threshold while you can: `sealift root stage add-key`, `sealift root stage threshold --role root 2`",
        ));
    }
    let before = fingerprint(project)?;
    let mut drill =
        Drill { role: role.to_owned(), stolen: Vec::new(), steps: Vec::new(), recovery_millis: 0, millis: 0 };
    let mut rehearsal = drill.step("copy the project, with stand-in keys and an id of its own", || {
        let rehearsal = Rehearsal::of(project, development, now)?;
        let words =
            format!("{} keys, {} delegations", rehearsal.project.keys.len(), rehearsal.project.delegations.len());
        Ok((rehearsal, words))
    })?;

    // The product whose devices play: the delegation's own, or the first one that has releases.
    let of_role = project.delegations.get(role).and_then(|delegation| delegation.products.first().cloned());
    let mut candidates: Vec<String> = of_role.map_or_else(|| project.products.keys().cloned().collect(), |it| vec![it]);
    candidates.sort_by_key(|product| !newest(&rehearsal, product).is_ok_and(|found| found.is_some()));
    let product =
        candidates.into_iter().next().ok_or_else(|| Error::refused("the project has no product", "add one"))?;
    if newest(&rehearsal, &product)?.is_none() {
        let image: Vec<u8> = (0..4_096u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        drill.step("make a release to begin with: the project has none", || {
            rehearsal.release(&product, Version([0, 0, 1]), 0, &image)?;
            Ok(((), format!("{product} 0.0.1")))
        })?;
    }
    let missing = || Error::failed("the release that was just listed is gone", "please report this");
    let (version, counter, image) = newest(&rehearsal, &product)?.ok_or_else(missing)?;
    let (delegation, ceiling) = {
        let (name, delegation) = rehearsal.project.delegation_of(&product)?;
        (name.to_owned(), delegation.counter_ceiling.min(rehearsal.project.counter_ceiling))
    };
    let genuine = rehearsal.files()?;
    let (component, hardware) = {
        let (_, targets) = genuine.delegated(&delegation)?.ok_or_else(missing)?;
        let target = targets.targets.iter().filter(|it| it.product == product).max_by_key(|it| it.version);
        let target = target.ok_or_else(missing)?;
        (target.component.to_owned(), target.hardware.iter().next().unwrap_or_default().to_owned())
    };
    let factory_root = genuine.roots.first().ok_or_else(missing)?.clone();
    let identity = (product.as_str(), component.as_str(), hardware.as_str());
    let new = |name| Device::new(name, identity, rehearsal.project.id, &factory_root);
    let (mut awake, mut asleep, mut victim) = (new("awake"), new("asleep"), new("victim"));
    let served = rehearsal.served()?;
    for device in [&mut awake, &mut asleep, &mut victim] {
        drill.accepts(device, &served, None, now, "takes the newest genuine release");
    }

    // The theft: the role's threshold, and the online keys with it where the role alone reaches no device.
    let with: &[&str] = match top {
        Some(Role::Root) => &[],
        Some(Role::Timestamp) => &[],
        Some(Role::Snapshot) => &["timestamp"],
        _ => &["snapshot", "timestamp"],
    };
    let own = rehearsal.own_key()?;
    let mut thief = Thief { keys: Default::default(), own, image: b"the thief's firmware ".repeat(200) };
    for role in std::iter::once(role).chain(with.iter().copied()) {
        let mut keys = Vec::new();
        for (name, key) in rehearsal.steal(role)? {
            if !drill.stolen.contains(&name) {
                drill.stolen.push(name);
            }
            keys.push(key);
        }
        thief.keys.insert(role.to_owned(), keys);
    }
    let aim = Aim {
        product: &product,
        component: &component,
        hardware: &hardware,
        delegation: &delegation,
        version: Version([version.0[0].saturating_add(1), 0, 0]),
        counter: (counter + 1).min(ceiling),
        ceiling,
    };
    let mut counter = counter;
    let signs_firmware = top.is_none() || top == Some(Role::Targets);
    if top == Some(Role::Root) {
        let (name, root) = thief.forge_root(&genuine, now)?;
        let mut forged = served.clone();
        forged.metadata.insert(name, root);
        drill.refuses(&mut victim, &forged, &[201], now, "is shown a root that the thief signed below the threshold");
    } else {
        // The thief signs the next version first: devices that see it know that version with another content.
        let forged = with_payloads(thief.forge(&genuine, &aim, None, now)?, &served);
        if signs_firmware {
            drill.accepts(
                &mut victim,
                &forged,
                None,
                now,
                "takes the thief's firmware: until it is noticed, the keys say so",
            );
            counter = aim.counter;
        } else {
            drill.accepts(
                &mut victim,
                &forged,
                None,
                now,
                "takes what the thief signed: the same firmware, another file",
            );
        }
        rehearsal.renew(now + 1)?;
        let codes: &[u16] = if signs_firmware { &[401, 402, 505, 501] } else { &[402, 401] };
        drill.refuses(&mut victim, &rehearsal.served()?, codes, now, "cannot take the genuine files of that version");
        let far = with_payloads(thief.forge(&genuine, &aim, Some(FAR), now)?, &served);
        drill.accepts(&mut victim, &far, None, now, "takes the thief's version 2^63: a fast-forward attack");
        let words = "takes nothing genuine any more";
        let refusal = drill.refuses(&mut victim, &rehearsal.served()?, &[401], now, words);
        if refusal.is_some_and(|refusal| refusal.disposition() == Disposition::Permanent)
            && let Some(step) = drill.steps.last_mut()
        {
            step.ok = false;
        }
    }

    // The answer.
    let noticed = Instant::now();
    let stolen = drill.stolen.clone();
    drill.step(format!("revoke {}: stage, request, sign apart, import, apply", stolen.join(", ")), || {
        let root = rehearsal.replace(&stolen)?;
        Ok(((), format!("root {root}, and everything the keys had signed is signed anew")))
    })?;
    let recovery = following(version).max(following(if signs_firmware { aim.version } else { version }));
    let image = served.payloads.get(&image).cloned().unwrap_or_else(|| b"recovery".repeat(64));
    let wanted = drill
        .step(format!("release {recovery}: the newest genuine image, with security counter {counter}"), || {
            Ok((rehearsal.release(&product, recovery, counter, &image)?, "signed by the new keys".into()))
        })?;
    let served = rehearsal.served()?;
    let mut fresh = Device::new("fresh", identity, rehearsal.project.id, &factory_root);
    drill.accepts(&mut awake, &served, Some(&wanted), now, "follows: it was online all the time");
    drill.accepts(&mut victim, &served, Some(&wanted), now, "recovers, from version 2^63 too, without being reflashed");
    drill.accepts(&mut asleep, &served, Some(&wanted), now, "wakes up: it slept through all of it");
    drill.accepts(&mut fresh, &served, Some(&wanted), now, "comes from the factory with the first root");
    drill.recovery_millis = noticed.elapsed().as_millis();

    // The thief again, on top of the new root.
    let after = rehearsal.files()?;
    let mut forged = match top {
        Some(Role::Root) => {
            let (name, root) = thief.forge_root(&after, now)?;
            let mut forged = served.clone();
            forged.metadata.insert(name, root);
            forged
        }
        _ => with_payloads(thief.forge(&after, &aim, Some(FAR), now)?, &served),
    };
    for device in [&mut awake, &mut victim, &mut asleep, &mut fresh] {
        drill.refuses(device, &forged, &[201], now, "is shown what the stolen keys sign now");
    }
    if top != Some(Role::Root) {
        // What was signed before, replayed whole, without the new root.
        forged = with_payloads(thief.forge(&genuine, &aim, Some(FAR), now)?, &served);
        let next = awake.next_root();
        forged.metadata.remove(&next);
        for device in [&mut awake, &mut asleep] {
            drill.refuses(device, &forged, &[201], now, "is shown what was signed before the keys were revoked");
        }
    }
    if signs_firmware {
        // The online keys are stolen once more: what stands against the revoked signature itself.
        for online in ["snapshot", "timestamp"] {
            let keys = rehearsal.steal(online)?.into_iter().map(|(_, key)| key);
            thief.keys.insert(online.to_owned(), keys.collect());
        }
        let forged = with_payloads(thief.forge(&after, &aim, None, now)?, &served);
        let words = "is shown it once more, with the new snapshot and timestamp keys stolen too";
        let refusal = drill.refuses(&mut asleep, &forged, &[201], now, words);
        if refusal.and_then(Refusal::role) != Some(Role::Targets)
            && let Some(step) = drill.steps.last_mut()
        {
            step.ok = false;
        }
    }
    let same = fingerprint(project)? == before;
    drill.steps.push(Step {
        what: "the project itself".into(),
        outcome: if same { "is as it was, byte for byte".into() } else { "changed while the drill ran".into() },
        code: None,
        ok: same,
        millis: 0,
    });
    drill.millis = began.elapsed().as_millis();
    Ok(drill)
}

/// A forgery is served beside everything that is genuine.
fn with_payloads(mut forged: Served, genuine: &Served) -> Served {
    for (digest, bytes) in &genuine.payloads {
        forged.payloads.entry(*digest).or_insert_with(|| bytes.clone());
    }
    forged
}

impl Rehearsal {
    /// A key that nobody lists: the thief's own.
    fn own_key(&self) -> Result<Box<dyn crate::keys::KeySource>> {
        let path = self.project.folder().join("keys").join("thief.pem");
        crate::keys::generate(&path, false)?;
        open_existing(&crate::keys::KeyUri::File(path), Path::new(""), false)
    }
}
