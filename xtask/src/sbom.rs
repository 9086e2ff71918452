//! `cargo xtask sbom`: what Sealift's programs are built from, in CycloneDX 1.5 (JSON).
//!
//! From `cargo metadata` and the checksums of `Cargo.lock`, so that it names exactly what a locked build takes. Development
//! dependencies are left out: they are in no program. Build dependencies and procedural macros are in, as excluded from what
//! ships, since whoever controls them controls the build.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
};

use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    process, project,
};

/// Options of `cargo xtask sbom`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask sbom --out sealift.cdx.json\n  cargo xtask sbom --crate sealift-verifier\n\n\
    With all features of the crates, so that the adapters to AWS and to tokens are in it. Exit code: 0, or 1 when it can't be made."
)]
pub(crate) struct Options {
    /// Crates whose programs it is about (default: all that ship)
    #[arg(long = "crate", value_name = "NAME")]
    crates: Vec<String>,
    /// Where to write it (default: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What ships: programs, and the library that devices link.
const SHIPPED: &[&str] = &["sealift-verifier", "sealift-signer", "sealift-server", "sealift-device"];

/// Makes it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let names: Vec<&str> = options.crates.iter().map(String::as_str).collect();
    let sbom = make(if names.is_empty() { SHIPPED } else { &names })?;
    let text = format!("{sbom:#}\n");
    match &options.out {
        None => print!("{text}"),
        Some(path) => {
            project::write(path, text.as_bytes())?;
            let count = sbom["components"].as_array().map_or(0, Vec::len);
            println!("wrote {}: {count} components", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo metadata` of the workspace, everything resolved as it is locked.
fn metadata() -> Result<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--all-features"];
    let text = process::succeed(process::cargo().args(arguments))?;
    serde_json::from_str(&text).map_err(|why| Error::Content { path: "cargo metadata".into(), what: why.to_string() })
}

/// SHA-256 of each package's archive, by name and version.
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let path = project::root().join("Cargo.lock");
    let lock: toml::Table = toml::from_str(&project::read_text(&path)?)
        .map_err(|why| Error::Content { path: path.clone(), what: why.to_string() })?;
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    Ok(packages
        .filter_map(|package| Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?)))
        .collect())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Ids of everything that `roots` need: `true` where it is part of what runs, `false` where only the build needs it.
fn reached(metadata: &Value, roots: &[&str]) -> BTreeMap<String, bool> {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nodes: BTreeMap<String, Value> =
        all(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node, "id").to_owned(), node)).collect();
    let macros: BTreeSet<String> = all(&metadata["packages"])
        .iter()
        .filter(|package| {
            all(&package["targets"]).iter().any(|target| all(&target["kind"]).contains(&json!("proc-macro")))
        })
        .map(|package| text(package, "id").to_owned())
        .collect();
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    let mut waiting: Vec<(String, bool)> = all(&metadata["packages"])
        .iter()
        .filter(|package| roots.contains(&text(package, "name")))
        .map(|package| (text(package, "id").to_owned(), true))
        .collect();
    while let Some((id, runs)) = waiting.pop() {
        let runs = runs && !macros.contains(&id);
        // Once more when it turns out that what a build needs also runs.
        if found.get(&id).is_some_and(|known| *known || !runs) {
            continue;
        }
        found.insert(id.clone(), runs);
        for dependency in nodes.get(&id).map(|node| all(&node["deps"])).unwrap_or_default() {
            let kinds = all(&dependency["dep_kinds"]);
            let is = |kind: Value| kinds.iter().any(|each| each["kind"] == kind);
            if is(Value::Null) {
                waiting.push((text(&dependency, "pkg").to_owned(), runs));
            } else if is(json!("build")) {
                waiting.push((text(&dependency, "pkg").to_owned(), false));
            }
        }
    }
    found
}

/// The document.
fn make(roots: &[&str]) -> Result<Value> {
    let (metadata, checksums) = (metadata()?, checksums()?);
    let reached = reached(&metadata, roots);
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let packages: Vec<&Value> = packages.iter().filter(|package| reached.contains_key(text(package, "id"))).collect();
    if let Some(unknown) = roots.iter().find(|name| !packages.iter().any(|package| text(package, "name") == **name)) {
        return Err(Error::Story { what: format!("no crate {unknown} in the workspace") });
    }
    let reference = |package: &Value| format!("pkg:cargo/{}@{}", text(package, "name"), text(package, "version"));
    let by_id: BTreeMap<&str, String> =
        packages.iter().map(|package| (text(package, "id"), reference(package))).collect();
    let component = |package: &&Value| {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let mut component = json!({
            "type": "library",
            "bom-ref": reference(package),
            "name": name,
            "version": version,
            "purl": reference(package),
            "scope": if reached[text(package, "id")] { "required" } else { "excluded" },
        });
        if let Some(licence) = package["license"].as_str() {
            // Cargo's older way to say OR.
            component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
        }
        if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        if let Some(url) = package["repository"].as_str() {
            component["externalReferences"] = json!([{"type": "vcs", "url": url}]);
        }
        component
    };
    let depends = |node: &Value| {
        let own = by_id.get(text(node, "id"))?;
        let deps = node["deps"].as_array().into_iter().flatten();
        let needed =
            deps.filter(|dep| dep["dep_kinds"].as_array().into_iter().flatten().any(|each| each["kind"] != "dev"));
        let on: BTreeSet<&String> = needed.filter_map(|dep| by_id.get(text(dep, "pkg"))).collect();
        Some(json!({"ref": own, "dependsOn": on}))
    };
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let version =
        packages.iter().find(|package| text(package, "name") == roots[0]).map_or("", |each| text(each, "version"));
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "sealift", "name": "sealift", "version": version},
            "tools": {"components": [{"type": "application", "name": "cargo xtask sbom"}]},
        },
        "components": packages.iter().map(component).collect::<Vec<_>>(),
        "dependencies": nodes.filter_map(depends).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sbom_is_complete_and_says_of_each_archive_what_the_lock_file_says() {
        let sbom = make(SHIPPED).unwrap();
        let components = sbom["components"].as_array().unwrap();
        let references: BTreeSet<&str> = components.iter().map(|each| text(each, "bom-ref")).collect();
        assert_eq!(references.len(), components.len(), "one entry each");
        // Cargo's own list of what the programs are built from.
        for name in SHIPPED {
            let mut tree = process::cargo();
            tree.args([
                "tree",
                "--locked",
                "--all-features",
                "--target",
                "all",
                "-e",
                "normal,build",
                "--prefix",
                "none",
            ]);
            let listed = process::succeed(tree.args(["--format", "{p}", "-p", name])).unwrap();
            for line in listed.lines() {
                let mut words = line.split_whitespace();
                let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
                let reference = format!("pkg:cargo/{name}@{}", version.trim_start_matches('v'));
                assert!(references.contains(reference.as_str()), "{reference} is missing");
            }
        }
        for component in components {
            let name = text(component, "name");
            let ours = name.starts_with("sealift");
            assert!(ours || component["hashes"][0]["content"].as_str().is_some_and(|hash| hash.len() == 64), "{name}");
            assert!(component["licenses"][0]["expression"].is_string() || name == "ring", "{name} has no licence");
        }
        // What is named as a dependency is listed, and what only tests need is not.
        for entry in sbom["dependencies"].as_array().unwrap() {
            for on in entry["dependsOn"].as_array().unwrap() {
                assert!(references.contains(on.as_str().unwrap()), "{on} is named and not listed");
            }
        }
        assert!(!references.iter().any(|each| each.contains("/proptest@") || each.contains("/serde_cbor@")));
        let scope =
            |name: &str| components.iter().find(|each| text(each, "name") == name).map(|each| text(each, "scope"));
        assert_eq!((scope("sha2"), scope("serde_derive")), (Some("required"), Some("excluded")));
    }

    #[test]
    fn a_crate_that_is_not_ours_is_refused_by_name() {
        let error = make(&["sealift-nonesuch"]).unwrap_err();
        assert!(error.to_string().contains("sealift-nonesuch"));
    }
}
