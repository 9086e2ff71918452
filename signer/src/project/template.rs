//! The project file as `sealift init` writes it, with comments for the person who will edit it.

use std::fmt::Write;

use sealift_manifests::{PublicKey, RepositoryId};

use super::{Custody, DecoderRam};
use crate::keys::KeyUri;

/// What a new project file says.
#[derive(Debug)]
pub struct Draft {
    /// Whether all keys were made in one folder.
    pub development: bool,
    /// The new repository's id.
    pub id: RepositoryId,
    /// The keys, each with the roles it is for.
    pub keys: Vec<DraftKey>,
    /// Thresholds of root and targets.
    pub root_threshold: u64,
    /// Threshold of the top-level targets.
    pub targets_threshold: u64,
    /// The products: each gets a delegation of its name.
    pub products: Vec<String>,
    /// The hardware every product exists on; empty means one named like the product.
    pub hardware: Vec<String>,
    /// RAM for decoding.
    pub decoder_ram: DecoderRam,
    /// Root's ceiling of the security counter, which the delegations repeat.
    pub counter_ceiling: u64,
}

/// A key of the draft.
#[derive(Debug)]
pub struct DraftKey {
    /// Name under `[keys]`.
    pub name: String,
    /// What it signs: `root`, `targets`, `snapshot`, `timestamp`, `product`.
    pub roles: Vec<&'static str>,
    /// Where it is.
    pub uri: KeyUri,
    /// Who can use it.
    pub custody: Custody,
    /// The public half.
    pub public: PublicKey,
}

impl Draft {
    /// The text of `sealift.toml`.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "# What this Sealift project signs, and with whose keys. Nothing secret stands here: keep it with the code."
        )?;
        writeln!(out, "format = 1")?;
        if self.development {
            writeln!(
                out,
                "# Made by `init --quick-start`: all keys lie in one folder. Good to try things out, and for nothing else."
            )?;
            writeln!(out, "development = true")?;
        }
        writeln!(out, "\n[repository]")?;
        writeln!(out, "# Provisioned in every device with the first root, and signed into every file.")?;
        writeln!(out, "id = \"{}\"", self.id)?;
        writeln!(out, "directory = \"repository\"")?;
        writeln!(out, "# No target can carry a higher security counter than root allows, whoever signs it.")?;
        writeln!(out, "counter-ceiling = {}", self.counter_ceiling)?;

        writeln!(
            out,
            "\n# Custody says who can use a key. offline: officers' keys and tokens. ci: the build's own identity. cloud: anything"
        )?;
        writeln!(out, "# that the account which runs bucket and jobs can use; it signs timestamp and snapshot alone.")?;
        for key in &self.keys {
            writeln!(out, "[keys.{}]", key.name)?;
            writeln!(out, "uri = {}", quoted(&key.uri.to_string()))?;
            writeln!(out, "custody = \"{}\"", key.custody)?;
            writeln!(out, "public = \"{}\"\n", hex::encode(key.public.cose_key()))?;
        }
        let signers = |out: &mut String, table: &str, role: &str, threshold: u64, expires: &str| {
            let names: Vec<_> =
                self.keys.iter().filter(|key| key.roles.contains(&role)).map(|key| quoted(&key.name)).collect();
            writeln!(out, "[{table}]\nkeys = [{}]\nthreshold = {threshold}\nexpires = \"{expires}\"", names.join(", "))
        };
        writeln!(
            out,
            "# How long a file of each role is valid from the moment it is signed. Versions count up by themselves."
        )?;
        signers(out, "roles.root", "root", self.root_threshold, "52w")?;
        signers(out, "roles.targets", "targets", self.targets_threshold, "52w")?;
        signers(out, "roles.snapshot", "snapshot", 1, "4w")?;
        signers(out, "roles.timestamp", "timestamp", 1, "2w")?;
        for product in &self.products {
            writeln!(out, "\n# The keys that sign releases of {product}, and of nothing else.")?;
            signers(out, &format!("delegations.{}", key(product)), "product", 1, "26w")?;
            writeln!(out, "products = [{}]", quoted(product))?;
            writeln!(out, "counter-ceiling = {}", self.counter_ceiling)?;
            let hardware = if self.hardware.is_empty() { std::slice::from_ref(product) } else { &self.hardware };
            let hardware: Vec<_> = hardware.iter().map(|id| quoted(id)).collect();
            writeln!(out, "\n[products.{}]", key(product))?;
            writeln!(out, "component = \"main\"")?;
            writeln!(out, "hardware = [{}]", hardware.join(", "))?;
            writeln!(out, "# What a device has to decode a payload with; a payload that needs more is not made.")?;
            writeln!(out, "decoder-ram = \"{}\"", self.decoder_ram)?;
            writeln!(
                out,
                "# Releases that stay listed when a new one comes; a job for one that is not listed any more is refused."
            )?;
            // KMS signs 4,096 bytes at most: two releases with their deltas fit into that in both encodings.
            let in_kms = |key: &&DraftKey| key.roles.contains(&"product") && matches!(key.uri, KeyUri::AwsKms(_));
            let keep = if self.keys.iter().any(|key| in_kms(&key)) { 2 } else { super::keep_releases() };
            writeln!(out, "keep-releases = {keep}")?;
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A name as one part of a table's header: a dot in it would make two.
fn key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}
