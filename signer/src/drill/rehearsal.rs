//! The copy that is rehearsed on: the same roles, thresholds, custody, delegations and releases, with stand-in keys and a
//! repository id of its own. No real key is used, so that nothing that leaves a drill is worth anything elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sealift_manifests::{Digest, Image, Payload, RepositoryId, Role, Target, Version, sha256};

use super::device::Served;
use crate::ceremony::{Ceremony, Edit, Examined, NewKey, present, sign, stand_in};
use crate::error::{Error, Result};
use crate::image::Format;
use crate::keys::{KeySource, KeyUri, generate, open_existing};
use crate::project::Project;
use crate::publish::{Changes, publish};
use crate::release::{self, Request, delegated_payload};
use crate::repository::{Files, Layout, Transaction};
use crate::signing::Signers;

/// A rehearsal in a folder that is removed with it.
pub(super) struct Rehearsal {
    folder: tempfile::TempDir,
    /// The stand-in project.
    pub(super) project: Project,
    now: u64,
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::failed(format!("the system gives no randomness: {error}"), ""))?;
    Ok(bytes)
}

fn stand_in_key(folder: &Path, name: &str) -> Result<NewKey> {
    let path = PathBuf::from("keys").join(format!("{name}.pem"));
    let public = generate(&folder.join(&path), false)?;
    let uri = KeyUri::File(path).to_string();
    Ok(NewKey { uri, custody: "offline".into(), public: hex::encode(public.cose_key()) })
}

impl Rehearsal {
    /// Copies what `project` and its repository say.
    pub(super) fn of(project: &Project, development: bool, now: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sealift-drill-").tempdir();
        let folder = folder.map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        let text = fs::read_to_string(&project.file).map_err(Error::io("read", &project.file))?;
        let id = RepositoryId(random()?).to_string();
        let text = stand_in(&text, &id, |name| stand_in_key(folder.path(), name))?;
        let file = folder.path().join("sealift.toml");
        fs::write(&file, &text).map_err(Error::io("write", &file))?;
        let copy = Project::parse(&file, &text, false)?;
        let mut rehearsal = Rehearsal { folder, project: copy, now };
        rehearsal.apply_all()?;
        let layout = Layout::new(&project.directory);
        if let Some(original) = present(project, &layout, development)? {
            rehearsal.list(&original.files, &layout)?;
        }
        Ok(rehearsal)
    }

    fn reload(&mut self) -> Result<()> {
        self.project = Project::load(&self.folder.path().join("sealift.toml"), false)?;
        Ok(())
    }

    fn ceremony(&self) -> Result<Ceremony> {
        let project = Project::load(&self.project.file, false)?;
        Ceremony::open(project, false, self.now)
    }

    /// Signs what the stand-in project says with every stand-in key.
    fn apply_all(&mut self) -> Result<()> {
        self.ceremony()?.apply_here(false)?;
        Ok(())
    }

    /// Lists the original's releases, with their images, signed by the stand-ins.
    fn list(&mut self, original: &Files, from: &Layout) -> Result<()> {
        let to = Layout::new(&self.project.directory);
        fs::create_dir_all(to.payloads()).map_err(Error::io("create the folder", to.payloads()))?;
        let mut changes = Changes::default();
        let mut signers = Signers::default();
        for role in ["snapshot", "timestamp"] {
            signers.add(&self.project, role, false)?;
        }
        for name in self.project.delegations.keys() {
            let Some((_, file)) = original.delegated(name)? else { continue };
            let targets: Vec<Target<'_>> = file.targets.iter().collect();
            let attached = |target: &Target<'_>| release::attachments(target).into_iter().map(|it| it.digest);
            let payloads =
                targets.iter().flat_map(|target| target.payloads.iter().map(|it| it.digest).chain(attached(target)));
            for digest in payloads {
                let (from, to) = (from.payload(&digest), to.payload(&digest));
                if !to.exists() {
                    fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
                }
            }
            changes.delegated.insert(name.clone(), delegated_payload(&self.project, name, 1, &targets, self.now)?);
            signers.add(&self.project, name, false)?;
        }
        if changes.delegated.is_empty() {
            return Ok(());
        }
        let transaction = Transaction::begin(&to)?;
        let files = Files::of_directory(&to)?;
        publish(&self.project, &transaction, files, changes, &signers, self.now)?;
        Ok(())
    }

    /// The state as it is signed.
    pub(super) fn files(&self) -> Result<Files> {
        release::open(&self.project, &Layout::new(&self.project.directory), false)
    }

    /// What a server would serve.
    pub(super) fn served(&self) -> Result<Served> {
        let layout = Layout::new(&self.project.directory);
        let mut served = serve(&self.files()?)?;
        let folder = layout.payloads();
        if folder.is_dir() {
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                let path = entry.map_err(Error::io("list", &folder))?.path();
                let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
                served.payloads.insert(sha256(&bytes), bytes);
            }
        }
        Ok(served)
    }

    /// Releases an image for `product`.
    pub(super) fn release(&self, product: &str, version: Version, counter: u64, image: &[u8]) -> Result<Digest> {
        let path = self.folder.path().join("image.bin");
        fs::write(&path, image).map_err(Error::io("write", &path))?;
        let request = Request {
            product: product.to_owned(),
            version,
            security_counter: counter,
            image: path,
            format: Format::Raw,
            component: None,
            hardware: Vec::new(),
            from: Some(Vec::new()),
            minimum_version: None,
            sbom: None,
            provenance: None,
            stage: false,
            development: false,
        };
        release::create(&self.project, &request, self.now).map(|created| created.target)
    }

    /// Signs the timestamp anew.
    pub(super) fn renew(&self, now: u64) -> Result<()> {
        release::renew(&self.project, false, &[], false, now).map(drop)
    }

    /// Copies of a role's keys, as a thief takes them: as many as its threshold, or all but one of that for root.
    pub(super) fn steal(&self, role: &str) -> Result<Vec<(String, Box<dyn KeySource>)>> {
        let top = Role::ALL.into_iter().find(|known| known.name() == role);
        let threshold = match (top, self.project.delegations.get(role)) {
            (Some(Role::Root), _) => self.project.role(Role::Root).threshold - 1,
            (Some(role), _) => self.project.role(role).threshold,
            (None, Some(delegation)) => delegation.threshold,
            (None, None) => 0,
        };
        let names = self.project.key_names(role);
        let keys = self.project.keys_of(names).take(usize::try_from(threshold).unwrap_or(usize::MAX));
        keys.map(|(name, key)| Ok((name.to_owned(), open_existing(&key.uri, self.project.folder(), false)?))).collect()
    }

    /// The ceremony that revokes keys: each replaced by a new one, signed by officers who have nothing but the request.
    pub(super) fn replace(&mut self, stolen: &[String]) -> Result<u64> {
        let mut ceremony = self.ceremony()?;
        for old in stolen {
            let custody = self.project.keys.get(old).map(|key| key.custody.to_string()).unwrap_or_default();
            let new = format!("{old}-new");
            let key = NewKey { custody, ..stand_in_key(self.folder.path(), &new)? };
            ceremony.stage(Edit::ReplaceKey { role: None, old: old.clone(), new, key: Some(key) })?;
        }
        let (text, _) = ceremony.request(false)?;
        // Each officer's machine: the request, and a key.
        let examined = Examined::of(text.as_bytes(), Path::new("sign-request.json"), None, false)?;
        for key in ceremony.local_keys(&examined)?.open {
            let response = sign(&examined, key.as_ref())?.encode();
            ceremony.import(&response, "response")?;
        }
        let applied = ceremony.apply()?;
        let root = applied.files.root()?.header.version;
        drop(ceremony);
        self.reload()?;
        Ok(root)
    }
}

/// A state by the names that devices ask for.
pub(super) fn serve(files: &Files) -> Result<Served> {
    let mut metadata = BTreeMap::new();
    for (index, root) in files.roots.iter().enumerate() {
        metadata.insert(format!("{}.root", index + 1), root.clone());
    }
    metadata.insert("timestamp".to_owned(), files.timestamp.clone());
    metadata.insert(format!("{}.snapshot", sha256(&files.snapshot)), files.snapshot.clone());
    for file in std::iter::once(&files.targets).chain(files.delegated.iter().map(|(_, file)| file)) {
        metadata.insert(format!("{}.targets", sha256(file)), file.clone());
    }
    Ok(Served { metadata, payloads: BTreeMap::new() })
}

/// A raw payload that is the image.
pub(super) fn raw(image: &[u8]) -> (Image, Payload) {
    let digest = sha256(image);
    let length = u32::try_from(image.len()).unwrap_or(u32::MAX);
    let payload =
        Payload { codec: sealift_manifests::Codec::RAW, length, digest, base: None, decoder_ram: 0, window_log: 0 };
    (Image { length, digest }, payload)
}
