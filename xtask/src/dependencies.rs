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
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Crate {
    name: String,
    version: String,
    why: String,
    licence: String,
    /// Lines of code with the word, of every backend.
    unsafe_lines: usize,
    build_script: bool,
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
    let mut table = String::from(
        "| crate | what for | licence | build script | lines with unsafe | why it is trusted |\n|---|---|---|---|---|---|\n",
    );
    for Crate { name, version, why, licence, unsafe_lines, build_script, trust } in list()? {
        let script = if build_script { "yes" } else { "no" };
        let _ = writeln!(table, "| `{name}` {version} | {why} | {licence} | {script} | {unsafe_lines} | {trust} |");
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

    /// Lines of code in which the word stands, and not only in a comment or in another word.
    fn unsafe_lines(text: &str) -> usize {
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        code.filter(|line| line.split(|c| !is_part(c)).any(|word| word == "unsafe")).count()
    }

    #[test]
    fn unsafe_is_counted_as_a_word_of_the_code() {
        assert_eq!(unsafe_lines("unsafe { x }\n// unsafe\n#![forbid(unsafe_code)]\nlet y = unsafe{z};"), 2);
    }

    #[test]
    fn what_the_list_says_of_a_crate_is_so_in_its_sources() {
        let arguments = ["metadata", "--format-version", "1", "--locked"];
        let metadata = crate::process::succeed(crate::process::cargo().args(arguments)).unwrap();
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        for each in list().unwrap() {
            let name = &each.name;
            let package =
                packages.iter().find(|package| package["name"] == **name && package["version"] == *each.version);
            let package = package.unwrap_or_else(|| panic!("{name} is not built"));
            let has = |kind: &str| {
                let mut targets = package["targets"].as_array().unwrap().iter();
                targets.any(|target| target["kind"].as_array().unwrap().contains(&kind.into()))
            };
            assert_eq!(package["license"].as_str().unwrap().replace('/', " OR "), each.licence, "{name}");
            assert_eq!(has("custom-build"), each.build_script, "{name}: a build script");
            assert!(!has("proc-macro"), "{name} runs in the compiler");
            let folder = std::path::Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
            let mut text = String::new();
            crate::attacks::sources(&folder.join("src"), &mut text).unwrap();
            let found = unsafe_lines(&text);
            assert!(!text.is_empty() && found == each.unsafe_lines, "{name}: {found} lines with unsafe");
        }
    }
}
