//! The reasoned list of what the verifier brings onto a device: `xtask/dependencies.toml`.

use std::fmt::Write;

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    project,
};

/// Where the list is kept.
const LIST: &str = "xtask/dependencies.toml";

/// One crate.
#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    why: String,
    trust: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "crate")]
    crates: Vec<Crate>,
}

fn list() -> Result<Vec<Crate>> {
    let path = project::root().join(LIST);
    let list: List =
        toml::from_str(&project::read_text(&path)?).map_err(|why| Error::Content { path, what: why.to_string() })?;
    Ok(list.crates)
}

/// The table in SECURITY.md.
pub(crate) fn table() -> Result<String> {
    let mut table = String::from("| crate | what for | why it is trusted |\n|---|---|---|\n");
    for Crate { name, version, why, trust } in list()? {
        let _ = writeln!(table, "| `{name}` {version} | {why} | {trust} |");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_crate_on_a_device_was_looked_at_in_this_version() {
        let built: BTreeSet<String> = crate::figures::tree("sealift-verifier").unwrap();
        let built: BTreeSet<String> = built.into_iter().filter(|name| !name.starts_with("sealift-")).collect();
        let list = list().unwrap();
        let listed: BTreeSet<String> = list.iter().map(|each| format!("{} v{}", each.name, each.version)).collect();
        assert_eq!(built, listed, "what cargo builds, and what {LIST} says");
        assert!(list.iter().all(|each| each.why.len() > 5 && each.trust.len() > 10));
    }
}
