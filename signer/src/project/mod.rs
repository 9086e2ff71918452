//! The project file, `sealift.toml`: who signs what, for how long, and what the products are. Nothing secret stands in it.

mod custody;
mod decoder_ram;
mod lifetime;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sealift_manifests::{PublicKey, RepositoryId, Role, is_name};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::input;
use crate::keys::{KeyUri, public_from_cose_hex, refuse_example};

pub use custody::Custody;
pub use decoder_ram::DecoderRam;
pub use lifetime::Lifetime;
pub use template::{Draft, DraftKey};

/// The name a project file has unless the command line gives another.
pub const FILE_NAME: &str = "sealift.toml";
const FORMAT: u64 = 1;
/// A project of 32 products and 64 keys stays far below.
const MAX_PROJECT_FILE: u64 = 256 * 1024;

/// A project that was read and whose rules were checked.
#[derive(Debug)]
pub struct Project {
    /// The project file.
    pub file: PathBuf,
    /// Whether its keys lie together in one folder, as a quick start leaves them.
    pub development: bool,
    /// The repository's id, signed into every role.
    pub id: RepositoryId,
    /// The repository's directory.
    pub directory: PathBuf,
    /// The highest security counter that root lets any target carry.
    pub counter_ceiling: u64,
    /// Every key, by the name the roles below use.
    pub keys: BTreeMap<String, Key>,
    roles: Roles,
    /// The delegated roles, by name.
    pub delegations: BTreeMap<String, Delegation>,
    /// The products, by id.
    pub products: BTreeMap<String, Product>,
}

/// One key: where it is, who can use it, and its public half, which needs no access to the private one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Key {
    /// Where the private key is kept.
    pub uri: KeyUri,
    /// Who can use it.
    pub custody: Custody,
    /// The public key, as an encoded `COSE_Key` in hexadecimal.
    #[serde(deserialize_with = "public_key")]
    pub public: PublicKey,
}

/// Who signs a role, and for how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signers {
    /// Names of keys.
    pub keys: Vec<String>,
    /// How many of them it takes.
    pub threshold: u64,
    /// For how long a file of this role is valid.
    pub expires: Lifetime,
}

/// A delegated targets role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delegation {
    /// Names of keys.
    pub keys: Vec<String>,
    /// How many of them it takes.
    pub threshold: u64,
    /// For how long its targets file is valid.
    pub expires: Lifetime,
    /// The products it signs for.
    pub products: Vec<String>,
    /// The highest security counter its targets may carry.
    pub counter_ceiling: u64,
}

/// A product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Product {
    /// The component that a release replaces unless the command line names another.
    #[serde(default = "main_component")]
    pub component: String,
    /// The hardware it exists on.
    pub hardware: Vec<String>,
    /// RAM that a device of it has for decoding payloads.
    pub decoder_ram: DecoderRam,
    /// How many releases stay listed when a new one comes.
    #[serde(default = "keep_releases")]
    pub keep_releases: usize,
}

fn main_component() -> String {
    "main".into()
}

/// Four: the one being rolled out, its predecessor for devices that wait, and two more.
fn keep_releases() -> usize {
    4
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    root: Signers,
    timestamp: Signers,
    snapshot: Signers,
    targets: Signers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    format: u64,
    #[serde(default)]
    development: bool,
    repository: Repository,
    keys: BTreeMap<String, Key>,
    roles: Roles,
    delegations: BTreeMap<String, Delegation>,
    products: BTreeMap<String, Product>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Repository {
    #[serde(deserialize_with = "repository_id")]
    id: RepositoryId,
    directory: PathBuf,
    counter_ceiling: u64,
}

fn public_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
    public_from_cose_hex(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn repository_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RepositoryId, D::Error> {
    let bytes = hex::decode(String::deserialize(deserializer)?).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(RepositoryId).ok_or_else(|| serde::de::Error::custom("a repository id is 32 hexadecimal digits"))
}

impl Project {
    /// Reads the project file and holds it to the rules.
    pub fn load(path: &Path, development: bool) -> Result<Self> {
        let remedy = "run `sealift init` in this folder, or name the file with --project";
        let text = input::read_text(path, "project file", MAX_PROJECT_FILE, remedy)?;
        Self::parse(path, &text, development)
    }

    /// Checks the text of a project file that stands, or will stand, at `path`.
    pub fn parse(path: &Path, text: &str, development: bool) -> Result<Self> {
        let read: File = toml::from_str(text).map_err(|error| {
            Error::input(
                path,
                error.to_string().trim_end(),
                "correct this line; `sealift init --help` shows the format",
            )
        })?;
        if read.format != FORMAT {
            return Err(Error::input(
                path,
                format!("format {} is not known here", read.format),
                format!("this version of sealift reads format {FORMAT}"),
            ));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let project = Project {
            file: path.to_path_buf(),
            development: read.development,
            id: read.repository.id,
            directory: folder.join(read.repository.directory),
            counter_ceiling: read.repository.counter_ceiling,
            keys: read.keys,
            roles: read.roles,
            delegations: read.delegations,
            products: read.products,
        };
        project.check_names()?;
        project.check_keys(development)?;
        project.check_custody()?;
        Ok(project)
    }

    /// The folder that relative paths and key URIs start at.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Who signs a top-level role.
    pub fn role(&self, role: Role) -> &Signers {
        match role {
            Role::Root => &self.roles.root,
            Role::Timestamp => &self.roles.timestamp,
            Role::Snapshot => &self.roles.snapshot,
            Role::Targets => &self.roles.targets,
        }
    }

    /// A product and its id, as the project file spells it.
    pub fn product(&self, id: &str) -> Result<(&str, &Product)> {
        self.products.get_key_value(id).map(|(id, product)| (id.as_str(), product)).ok_or_else(|| {
            let known: Vec<_> = self.products.keys().map(String::as_str).collect();
            Error::usage(
                format!("{} has no product `{id}`", self.file.display()),
                format!("its products are: {}", known.join(", ")),
            )
        })
    }

    /// The delegated role that signs for a product, and its name.
    pub fn delegation_of(&self, product: &str) -> Result<(&str, &Delegation)> {
        let found = self.delegations.iter().find(|(_, delegation)| delegation.products.iter().any(|id| id == product));
        found
            .map(|(name, delegation)| (name.as_str(), delegation))
            .ok_or_else(|| self.fault(format!("products.{product}"), "no delegation lists this product"))
    }

    /// The names and keys of a list of signers, none missing: the names were checked.
    pub fn keys_of<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = (&'a str, &'a Key)> {
        names.iter().filter_map(|name| self.keys.get(name).map(|key| (name.as_str(), key)))
    }

    /// Names of the keys of a role: one of TUF's four, or a delegated one.
    pub fn key_names(&self, role: &str) -> &[String] {
        let top = Role::ALL.into_iter().find(|known| known.name() == role);
        let delegated = self.delegations.get(role).map(|delegation| &delegation.keys[..]);
        top.map(|top| &self.role(top).keys[..]).or(delegated).unwrap_or_default()
    }

    /// Whether a role has keys that are never on this machine (`offline:`).
    pub fn is_offline(&self, role: &str) -> bool {
        self.keys_of(self.key_names(role)).any(|(_, key)| matches!(key.uri, KeyUri::Offline(_)))
    }

    /// Every list of signers with the place it stands at, and its threshold.
    pub fn signers(&self) -> Vec<(String, &[String], u64)> {
        let top = Role::ALL.map(|role| (format!("roles.{role}"), &self.role(role).keys[..], self.role(role).threshold));
        let delegated = self.delegations.iter();
        let delegated = delegated.map(|(name, it)| (format!("delegations.{name}"), &it.keys[..], it.threshold));
        top.into_iter().chain(delegated).collect()
    }

    fn fault(&self, place: impl std::fmt::Display, fault: impl std::fmt::Display) -> Error {
        Error::input(&self.file, format!("{place}: {fault}"), "correct this entry")
    }

    fn check_names(&self) -> Result<()> {
        for (id, product) in &self.products {
            let names = [id, &product.component].into_iter().chain(&product.hardware);
            if let Some(bad) = names.into_iter().find(|name| !is_name(name)) {
                let fault = "is no name: 1 to 64 of a-z 0-9 . _ - are, the first a letter or digit";
                return Err(self.fault(format!("products.{id}"), format!("`{bad}` {fault}")));
            }
            if product.hardware.is_empty() {
                return Err(self.fault(format!("products.{id}"), "lists no hardware"));
            }
            if product.keep_releases == 0 {
                return Err(self.fault(format!("products.{id}.keep-releases"), "must be at least 1"));
            }
            let owners = self.delegations.values().filter(|delegation| delegation.products.contains(id)).count();
            if owners != 1 {
                return Err(self.fault(format!("products.{id}"), format!("{owners} delegations list it; it takes one")));
            }
        }
        for (name, delegation) in &self.delegations {
            if !is_name(name) || Role::ALL.iter().any(|role| role.name() == name) {
                return Err(self.fault(format!("delegations.{name}"), "this is no name for a delegated role"));
            }
            if let Some(unknown) = delegation.products.iter().find(|id| !self.products.contains_key(*id)) {
                return Err(self.fault(format!("delegations.{name}.products"), format!("no product `{unknown}`")));
            }
            if delegation.counter_ceiling > self.counter_ceiling {
                let fault = "is above repository.counter-ceiling, which holds for every delegation";
                return Err(self.fault(format!("delegations.{name}.counter-ceiling"), fault));
            }
        }
        Ok(())
    }

    fn check_keys(&self, development: bool) -> Result<()> {
        let mut seen: BTreeMap<PublicKey, &str> = BTreeMap::new();
        for (name, key) in &self.keys {
            refuse_example(&key.public.id(), &format!("{}: keys.{name}", self.file.display()), development)?;
            // One key under two names would count once on the device and twice in this file.
            if let Some(other) = seen.insert(key.public, name) {
                return Err(self.fault(format!("keys.{name}"), format!("is the same key as keys.{other}")));
            }
        }
        for (place, names, threshold) in self.signers() {
            let place_of_keys = format!("{place}.keys");
            if let Some(unknown) = names.iter().find(|name| !self.keys.contains_key(*name)) {
                return Err(self.fault(place_of_keys, format!("no key `{unknown}` under [keys]")));
            }
            if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
                return Err(self.fault(place_of_keys, "lists a key twice"));
            }
            if names.len() > sealift_manifests::bounds::MAX_ROLE_KEYS {
                let most = sealift_manifests::bounds::MAX_ROLE_KEYS;
                return Err(self.fault(place_of_keys, format!("{} keys; a role has at most {most}", names.len())));
            }
            if threshold == 0 || threshold > names.len() as u64 {
                let fault = format!("{threshold} of {} keys can never be reached or needs nobody", names.len());
                return Err(self.fault(format!("{place}.threshold"), fault));
            }
        }
        Ok(())
    }
}
