//! A sign-request: everything an officer's machine needs to know, and nothing it has to believe.
//!
//! It carries the roots from the first on, so that the machine can follow them from one it knows; what is to be signed, in both
//! encodings; and a summary for people. [`Examined::of`] checks all of it against all the rest: the chain of roots, the
//! targets that are replaced, that the JSON says what the device encoding says, and that the summary is what follows from it.
//! It is the same check on an officer's laptop and where the signatures come together.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealift_manifests::envelope::SigStructure;
use sealift_manifests::{Digest, Envelope, List, PublicKey, Role, RoleKeys, Root, Targets, sha256};
use sealift_verifier::cose::{CoseFile, ListedKeys};
use sealift_verifier::trust::format::{Authority, RootFacts};
use sealift_verifier::trust::{Policy, Signers, Verified, check_authority, count_signatures};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::summary::Summary;
use crate::error::{Error, Result};
use crate::repository::refused;
use crate::tuf;

/// Most bytes of a request: hundreds of roots, and every delegation.
pub const MAX_REQUEST: u64 = 8 << 20;
/// Most items: a response marks each by a bit.
pub(super) const MAX_ITEMS: usize = 32;
/// The version of the format, and of the words in the summary.
const FORMAT: u64 = 1;
const ANOTHER: &str = "have the release engineer send the request anew, and compare its SHA-256 by telephone";

/// Bytes, as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Bytes).map_err(|_| serde::de::Error::custom("no base64"))
    }
}

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// The format's version.
    pub sealift_sign_request: u64,
    /// For people, first. Recomputed, never believed.
    pub summary: Vec<String>,
    /// The repository's id.
    pub repository: String,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// Every root from the first to the present one; none before the first.
    pub roots: Vec<Bytes>,
    /// The present top-level targets.
    pub targets: Option<Bytes>,
    /// What is to be signed.
    pub items: Vec<Item>,
}

/// One thing to sign.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Item {
    /// `root`, `targets`, or a delegated role.
    pub role: String,
    /// The present file of a delegated role, where there is one.
    pub present: Option<Bytes>,
    /// The device encoding's payload.
    pub payload: Bytes,
    /// The host encoding: the canonical JSON that is signed. None where the repository has no host encoding.
    pub json: Option<String>,
}

impl Item {
    /// Which of TUF's roles it is.
    pub fn tuf_role(&self) -> Role {
        if self.role == "root" { Role::Root } else { Role::Targets }
    }
}

/// Keys of whom so many have to sign.
#[derive(Clone, Debug)]
pub struct Need {
    /// Whose keys.
    pub by: String,
    /// They.
    pub keys: Vec<PublicKey>,
    /// How many.
    pub threshold: u64,
    /// Whether they are the keys of the root that is to be replaced.
    pub present: bool,
}

impl Need {
    fn of(by: String, role: &RoleKeys<'_>, keys: List<'_, PublicKey>) -> Self {
        Need { by, keys: role.resolve(keys).collect(), threshold: role.threshold, present: false }
    }
}

impl Authority for Need {
    type Key = PublicKey;
    fn threshold(&self) -> u64 {
        self.threshold
    }
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.keys.iter().copied()
    }
}

/// An item that was checked.
#[derive(Clone, Debug)]
pub struct ExaminedItem {
    /// `root`, `targets`, or a delegated role.
    pub role: String,
    /// Which of TUF's roles it is.
    pub tuf_role: Role,
    /// The device encoding's payload.
    pub payload: Vec<u8>,
    /// What is signed for the device encoding: the `Sig_structure` (RFC 9052, section 4.4).
    pub device_message: Vec<u8>,
    /// What is signed for the host encoding.
    pub host_message: Option<Vec<u8>>,
    /// Who has to sign it.
    pub needs: Vec<Need>,
}

/// A request that was checked as far as it can be by itself.
#[derive(Debug)]
pub struct Examined {
    /// SHA-256 of its text.
    pub digest: Digest,
    /// It.
    pub request: Request,
    /// What is to be signed.
    pub items: Vec<ExaminedItem>,
    /// What it changes, recomputed.
    pub summary: Summary,
    /// SHA-256 of the last of its roots.
    pub present_root: Option<Digest>,
}

fn payload_of<'a>(file: &'a [u8], what: &str) -> Result<&'a [u8]> {
    let envelope = Envelope::decode(file);
    envelope.map(|envelope| envelope.payload).map_err(|error| Error::refused(format!("{what}: {error}"), ANOTHER))
}

fn root_in<'a>(payload: &'a [u8], what: &str) -> Result<Root<'a>> {
    Root::decode(payload).map_err(|error| Error::refused(format!("{what}: {error}"), ANOTHER))
}

fn targets_in<'a>(payload: &'a [u8], what: &str) -> Result<Targets<'a>> {
    Targets::decode(payload).map_err(|error| Error::refused(format!("{what}: {error}"), ANOTHER))
}

impl Request {
    /// The text of the file.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::failed(error, ""))?;
        Ok(text + "\n")
    }

    /// The summary that follows from what is to be signed.
    pub fn summarize(&self) -> Result<Summary> {
        let mut summary = Summary::default();
        let root = match self.roots.last() {
            Some(file) => Some(root_in(payload_of(&file.0, "the present root")?, "the present root")?),
            None => None,
        };
        let targets = match &self.targets {
            Some(file) => Some(targets_in(payload_of(&file.0, "the present targets")?, "the present targets")?),
            None => None,
        };
        for item in &self.items {
            let what = format!("the new {}", item.role);
            match item.role.as_str() {
                "root" => summary.root(root.as_ref(), &root_in(&item.payload.0, &what)?)?,
                "targets" => summary.targets(targets.as_ref(), &targets_in(&item.payload.0, &what)?)?,
                name => {
                    let present = match &item.present {
                        Some(file) => Some(targets_in(payload_of(&file.0, name)?, name)?),
                        None => None,
                    };
                    summary.delegated(name, present.as_ref(), &targets_in(&item.payload.0, &what)?)?;
                }
            }
        }
        Ok(summary)
    }
}

impl Examined {
    /// Reads and checks a request. `place` names it in errors; `known` is a root that the officer kept from before.
    pub fn of(text: &[u8], place: &Path, known: Option<&[u8]>, development: bool) -> Result<Self> {
        let request: Request = serde_json::from_slice(text)
            .map_err(|error| Error::input(place, format!("this is no sign-request: {error}"), ANOTHER))?;
        if request.sealift_sign_request != FORMAT {
            return Err(Error::input(
                place,
                format!("a sign-request of format {}", request.sealift_sign_request),
                format!("this sealift reads format {FORMAT}; use the version that the request was made with"),
            ));
        }
        let refuse = |fault: String| Error::refused(format!("{}: {fault}", place.display()), ANOTHER);
        if request.items.is_empty() || request.items.len() > MAX_ITEMS {
            return Err(refuse(format!("it asks for {} signatures, not for 1 to {MAX_ITEMS}", request.items.len())));
        }
        let policy = if development { Policy::development() } else { Policy::production() };
        follow_roots(&request, known, &policy, place)?;
        let items = examine_items(&request, &policy)?;
        let summary = request.summarize()?;
        if summary.lines() != request.summary {
            let differs = summary.lines().into_iter().zip(&request.summary).find(|(ours, theirs)| ours != *theirs);
            let detail = match differs {
                Some((ours, theirs)) => format!("it says `{theirs}`, and what would be signed is `{ours}`"),
                None => "it has more lines or fewer than there are changes".into(),
            };
            return Err(refuse(format!("the summary differs from what is to be signed: {detail}")));
        }
        let present_root = request.roots.last().map(|root| sha256(&root.0));
        Ok(Examined { digest: sha256(text), items, summary, present_root, request })
    }
}

/// Follows the chain of roots with the device's own rules, from the officer's own root where there is one.
fn follow_roots(request: &Request, known: Option<&[u8]>, policy: &Policy, place: &Path) -> Result<()> {
    let fault = |error| refused("the sign-request's roots", error);
    let mut roots = request.roots.iter();
    let mut trusted: Option<Verified<Root<'_>, Signers>> = None;
    if let Some(first) = roots.next() {
        let file = CoseFile::new(&first.0).map_err(fault)?;
        let first: Verified<Root<'_>, Signers> = Verified::self_signed_root(&file, policy).map_err(fault)?;
        if first.content().header.version != 1 {
            return Err(Error::refused("the request's roots do not start with the first one", ANOTHER));
        }
        trusted = Some(first);
    }
    for next in roots {
        if let Some(before) = &trusted {
            trusted = Some(before.next_root(&CoseFile::new(&next.0).map_err(fault)?, policy).map_err(fault)?);
        }
    }
    if let Some(root) = &trusted
        && root.content().header.repository.to_string() != request.repository
    {
        return Err(Error::refused("the request names another repository than its roots", ANOTHER));
    }
    let Some(known) = known else { return Ok(()) };
    let payload = payload_of(known, "your root")?;
    let version = root_in(payload, "your root")?.header.version;
    let index = version.checked_sub(1).and_then(|index| usize::try_from(index).ok());
    let same = index.and_then(|index| request.roots.get(index)).map(|file| payload_of(&file.0, "a root"));
    match same.transpose()? {
        Some(listed) if listed == payload => Ok(()),
        _ => Err(Error::refused(
            format!(
                "{}: its roots do not lead from your root {version}: it is for other devices than yours",
                place.display()
            ),
            "do not sign; ask whoever sent it where it comes from",
        )),
    }
}

fn examine_items(request: &Request, policy: &Policy) -> Result<Vec<ExaminedItem>> {
    let present_root = match request.roots.last() {
        Some(file) => Some(root_in(payload_of(&file.0, "the present root")?, "the present root")?),
        None => None,
    };
    let item_of = |role: &str| request.items.iter().find(|item| item.role == role);
    let next_root = item_of("root").map(|item| root_in(&item.payload.0, "the new root")).transpose()?;
    let missing = || Error::refused("the request has neither a present root nor a new one", ANOTHER);
    let root = next_root.or(present_root).ok_or_else(missing)?;
    let present_targets = match &request.targets {
        Some(file) => Some(present_targets(request, &file.0)?),
        None => None,
    };
    let next_targets = item_of("targets").map(|item| targets_in(&item.payload.0, "the new targets")).transpose()?;
    let mut examined = Vec::new();
    for (index, item) in request.items.iter().enumerate() {
        if request.items[..index].iter().any(|other| other.role == item.role) {
            return Err(Error::refused(format!("the request asks twice for {}", item.role), ANOTHER));
        }
        let mut needs = Vec::new();
        let (repository, version, before, message);
        match item.role.as_str() {
            "root" => {
                for role in Role::ALL {
                    check_authority::<_, Signers>(&root.authority(role), Role::Root, policy)
                        .map_err(|error| refused(&format!("the new root, keys of {role}"), error))?;
                }
                before = present_root.map(|root| root.header.version);
                if let Some(old) = &present_root {
                    let by = format!("root {}", old.header.version);
                    needs.push(Need { present: true, ..Need::of(by, old.role(Role::Root), old.keys) });
                }
                needs.push(Need::of(format!("root {}", root.header.version), root.role(Role::Root), root.keys));
                (repository, version) = (root.header.repository, root.header.version);
                message = tuf::root_message(&root)?;
            }
            name => {
                let targets = targets_in(&item.payload.0, &format!("the new {name}"))?;
                (repository, version) = (targets.header.repository, targets.header.version);
                if name == "targets" {
                    before = present_targets.map(|targets| targets.header.version);
                    for delegation in targets.delegations.iter() {
                        let keys = ListedKeys::of_delegation(&targets, &delegation);
                        check_authority::<_, Signers>(&keys, Role::Targets, policy)
                            .map_err(|error| refused(&format!("delegation {}", delegation.name), error))?;
                    }
                    needs.push(Need::of(
                        format!("targets of root {}", root.header.version),
                        root.role(Role::Targets),
                        root.keys,
                    ));
                } else {
                    let delegating = next_targets.or(present_targets);
                    let found =
                        delegating.and_then(|file| Some((file, file.delegations.iter().find(|it| it.name == name)?)));
                    let (file, delegation) = found.ok_or_else(|| {
                        Error::refused(format!("the request asks for `{name}`, which is no role"), ANOTHER)
                    })?;
                    if targets.name != Some(name) {
                        return Err(Error::refused(
                            format!("what is to be signed as {name} is of another role"),
                            ANOTHER,
                        ));
                    }
                    for target in targets.targets.iter() {
                        let ceiling = delegation.counter_ceiling.min(root.counter_ceiling);
                        if !delegation.products.iter().any(|id| id == target.product)
                            || target.security_counter > ceiling
                        {
                            return Err(Error::refused(
                                format!("{} {} is not {name}'s to sign", target.product, target.version),
                                ANOTHER,
                            ));
                        }
                    }
                    if let (Some(file), Some(top)) = (&item.present, &present_targets) {
                        check_present(top, name, &file.0)?;
                    }
                    let present = item.present.as_ref().map(|file| payload_of(&file.0, name)).transpose()?;
                    before =
                        present.map(|payload| targets_in(payload, name)).transpose()?.map(|old| old.header.version);
                    needs.push(Need::of(name.to_owned(), &delegation.keys, file.keys));
                }
                message = host_targets(&targets, item)?;
            }
        }
        if repository.to_string() != request.repository {
            return Err(Error::refused(format!("the new {} is for another repository", item.role), ANOTHER));
        }
        // A delegated role that was off the list goes on from the last version it had, which stands nowhere here.
        let follows = match before {
            Some(before) => before.checked_add(1) == Some(version),
            None => version == 1 || !matches!(item.role.as_str(), "root" | "targets"),
        };
        if !follows {
            return Err(Error::refused(
                format!("the new {} has version {version}, which is not the next", item.role),
                ANOTHER,
            ));
        }
        let host_message = match (&item.json, message) {
            (None, _) => None,
            (Some(json), Some(ours)) if json.as_bytes() == ours => Some(ours),
            (Some(_), Some(_)) => {
                return Err(Error::refused(
                    format!("the JSON of the new {} does not say what its device encoding says", item.role),
                    ANOTHER,
                ));
            }
            (Some(_), None) => {
                return Err(Error::refused(
                    "the request is for two encodings, and this build of sealift knows one",
                    "use a build with the feature `tuf-json`, which is on by default",
                ));
            }
        };
        examined.push(ExaminedItem {
            role: item.role.clone(),
            tuf_role: item.tuf_role(),
            payload: item.payload.0.clone(),
            device_message: SigStructure::new(&item.payload.0).to_vec(),
            host_message,
            needs,
        });
    }
    Ok(examined)
}

/// The present targets, signed by the keys of the present root; or of the one before, where an act was interrupted between.
fn present_targets<'a>(request: &'a Request, file: &'a [u8]) -> Result<Targets<'a>> {
    let what = "the present targets";
    let signed = CoseFile::<Targets<'_>>::new(file).map_err(|error| refused(what, error))?;
    let mut counted = Err(Error::refused("the request has targets and no root", ANOTHER));
    for root in request.roots.iter().rev().take(2) {
        let root = root_in(payload_of(&root.0, "a root")?, "a root")?;
        let authority = root.authority(Role::Targets);
        match count_signatures::<_, _, Signers>(&signed, &authority, Role::Targets) {
            Ok(_) => return targets_in(payload_of(file, what)?, what),
            Err(error) => counted = counted.or(Err(refused(what, error))),
        }
    }
    counted
}

/// The present file of a delegated role is what the summary compares with: it has to be signed by the role's present keys.
fn check_present(top: &Targets<'_>, name: &str, file: &[u8]) -> Result<()> {
    let what = format!("the present targets of {name}");
    let delegation = top.delegations.iter().find(|delegation| delegation.name == name);
    let delegation =
        delegation.ok_or_else(|| Error::refused(format!("{what}: nobody delegates to {name}"), ANOTHER))?;
    let counted = CoseFile::<Targets<'_>>::new(file).and_then(|file| {
        count_signatures::<_, _, Signers>(&file, &ListedKeys::of_delegation(top, &delegation), Role::Targets)
    });
    counted.map(drop).map_err(|error| refused(&what, error))
}

/// The JSON of a targets file. The length of a bill of materials stands in the JSON alone; it is taken from there.
fn host_targets(targets: &Targets<'_>, item: &Item) -> Result<Option<Vec<u8>>> {
    let json: Option<serde_json::Value> = item.json.as_ref().and_then(|json| serde_json::from_str(json).ok());
    tuf::targets_message(targets, &|target| {
        json.as_ref()?["targets"][tuf::target_name(target, "sbom.json")]["length"].as_u64()
    })
}
