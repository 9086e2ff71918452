//! Staged changes of the project file. They are kept as what somebody wanted, not as its outcome, so that they still fit when
//! other lines of `sealift.toml` changed in the meantime; comments and order stay.

use sealift_manifests::Role;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use crate::error::{Error, Result};

/// A key as `[keys]` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Where it is.
    pub uri: String,
    /// Who can use it.
    pub custody: String,
    /// Its public half: a `COSE_Key` in hexadecimal.
    pub public: String,
}

/// One staged change. `role` is one of TUF's four roles, or a delegation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// What sealift.toml says as it stands.
    AsWritten {},
    /// Root and top-level targets are signed anew, with new expiries.
    Renew {},
    /// A key is added to a role.
    AddKey {
        /// The role.
        role: String,
        /// The key's name.
        name: String,
        /// The key, when it is not listed yet.
        key: Option<NewKey>,
    },
    /// A key is taken out of a role.
    RemoveKey {
        /// The role.
        role: String,
        /// The key's name.
        name: String,
    },
    /// A key takes the place of another.
    ReplaceKey {
        /// In this role alone; in all of them otherwise.
        role: Option<String>,
        /// The key that goes.
        old: String,
        /// The key that comes.
        new: String,
        /// It, when it is not listed yet.
        key: Option<NewKey>,
    },
    /// How many signatures a role takes.
    Threshold {
        /// The role.
        role: String,
        /// The number.
        threshold: u64,
    },
    /// For how long a role's files are valid.
    Expires {
        /// The role.
        role: String,
        /// The time, as sealift.toml writes it.
        lifetime: String,
    },
    /// The ceiling of the security counter.
    Ceiling {
        /// Of this delegation; root's own otherwise.
        delegation: Option<String>,
        /// The ceiling.
        ceiling: u64,
    },
    /// A delegation is made, or its products, keys and threshold are set.
    Delegation {
        /// Its name.
        name: String,
        /// Its products. Those that are new get an entry under `[products]`.
        products: Vec<String>,
        /// Hardware of products that are new.
        hardware: Vec<String>,
        /// Names of its keys.
        keys: Vec<String>,
        /// Keys among them that are not listed yet.
        new_keys: Vec<(String, NewKey)>,
        /// The threshold.
        threshold: u64,
        /// For how long its files are valid.
        lifetime: String,
        /// Its ceiling of the security counter.
        ceiling: u64,
    },
    /// A delegation and its products go.
    RemoveDelegation {
        /// Its name.
        name: String,
    },
    /// The next targets file of a delegated role, made by `release create` or `withdraw` and waiting for offline keys.
    Targets {
        /// The role.
        name: String,
        /// Its payload, in base64.
        payload: String,
    },
    /// A whole project file that was edited by hand.
    File {
        /// Its text.
        text: String,
    },
}

impl Edit {
    /// The change in words.
    pub fn words(&self) -> String {
        match self {
            Edit::AsWritten {} => "what sealift.toml says".into(),
            Edit::Renew {} => "new expiries for root and top-level targets".into(),
            Edit::AddKey { role, name, .. } => format!("key `{name}` added to {role}"),
            Edit::RemoveKey { role, name } => format!("key `{name}` taken out of {role}"),
            Edit::ReplaceKey { role, old, new, .. } => {
                let place = role.as_ref().map_or("every role that lists it".into(), |role| role.to_string());
                format!("key `{old}` replaced by `{new}` in {place}")
            }
            Edit::Threshold { role, threshold } => format!("threshold of {role}: {threshold}"),
            Edit::Expires { role, lifetime } => format!("files of {role} are valid for {lifetime}"),
            Edit::Ceiling { delegation: None, ceiling } => format!("root's ceiling of the security counter: {ceiling}"),
            Edit::Ceiling { delegation: Some(name), ceiling } => {
                format!("ceiling of the security counter of {name}: {ceiling}")
            }
            Edit::Delegation { name, products, keys, threshold, .. } => {
                format!("delegation {name} for {}: {threshold} of {}", products.join(", "), keys.join(", "))
            }
            Edit::RemoveDelegation { name } => format!("delegation {name} and its products removed"),
            Edit::Targets { name, .. } => format!("the next targets of {name}"),
            Edit::File { .. } => "a whole sealift.toml, edited by hand".into(),
        }
    }
}

/// The project file's text after these changes.
pub(super) fn apply(text: &str, edits: &[Edit]) -> Result<String> {
    let mut text = text.to_owned();
    for edit in edits {
        if let Edit::File { text: whole } = edit {
            text.clone_from(whole);
            continue;
        }
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| Error::input("sealift.toml", error, "correct this line"))?;
        change(&mut document, edit)?;
        text = document.to_string();
    }
    Ok(text)
}

fn change(document: &mut DocumentMut, edit: &Edit) -> Result<()> {
    match edit {
        Edit::AsWritten {} | Edit::Renew {} | Edit::File { .. } | Edit::Targets { .. } => Ok(()),
        Edit::AddKey { role, name, key } => {
            define(document, name, key.as_ref())?;
            let keys = keys_of(document, role)?;
            if position(keys, name).is_some() {
                return Err(Error::usage(format!("{role} lists key `{name}` already"), "there is nothing to add"));
            }
            keys.push(name);
            Ok(())
        }
        Edit::RemoveKey { role, name } => {
            let keys = keys_of(document, role)?;
            let at = position(keys, name).ok_or_else(|| {
                Error::usage(format!("{role} has no key `{name}`"), format!("its keys are: {}", names(keys).join(", ")))
            })?;
            keys.remove(at);
            forget_unused(document)
        }
        Edit::ReplaceKey { role, old, new, key } => {
            define(document, new, key.as_ref())?;
            let roles = match role {
                Some(role) => vec![role.clone()],
                None => all_roles(document),
            };
            let mut replaced = false;
            for role in roles {
                let keys = keys_of(document, &role)?;
                if let Some(at) = position(keys, old) {
                    if position(keys, new).is_some() {
                        return Err(Error::usage(
                            format!("{role} lists key `{new}` already"),
                            "remove the old key instead: `sealift root stage remove-key`",
                        ));
                    }
                    keys.replace(at, new.as_str());
                    replaced = true;
                }
            }
            if !replaced {
                let place = role.as_deref().unwrap_or("any role");
                return Err(Error::usage(format!("key `{old}` does not stand in {place}"), "see `sealift root show`"));
            }
            forget_unused(document)
        }
        Edit::Threshold { role, threshold } => set(document, role, "threshold", integer(*threshold)?),
        Edit::Expires { role, lifetime } => set(document, role, "expires", value(lifetime.as_str())),
        Edit::Ceiling { delegation: Some(name), ceiling } => set(document, name, "counter-ceiling", integer(*ceiling)?),
        Edit::Ceiling { delegation: None, ceiling } => {
            let ceiling = integer(*ceiling)?;
            let repository = table(document.as_table_mut(), "repository");
            replace(repository.ok_or_else(|| missing("[repository]"))?, "counter-ceiling", ceiling);
            Ok(())
        }
        Edit::Delegation { name, products, hardware, keys, new_keys, threshold, lifetime, ceiling } => {
            for (name, key) in new_keys {
                define(document, name, Some(key))?;
            }
            let listed = |texts: &[String]| value(texts.iter().map(String::as_str).collect::<Array>());
            let all = section(document, "products")?;
            for product in products {
                if all.get(product).is_none() {
                    let hardware = if hardware.is_empty() { std::slice::from_ref(product) } else { hardware };
                    let mut entry = Table::new();
                    entry.insert("component", value("main"));
                    entry.insert("hardware", listed(hardware));
                    entry.insert("decoder-ram", value("24KiB"));
                    entry.insert("keep-releases", value(4));
                    all.insert(product, Item::Table(entry));
                }
            }
            let delegations = section(document, "delegations")?;
            if delegations.get(name).is_none() {
                delegations.insert(name, Item::Table(Table::new()));
            }
            let entry = table(delegations, name).ok_or_else(|| missing(name))?;
            replace(entry, "keys", listed(keys));
            replace(entry, "threshold", integer(*threshold)?);
            replace(entry, "expires", value(lifetime.as_str()));
            replace(entry, "products", listed(products));
            replace(entry, "counter-ceiling", integer(*ceiling)?);
            forget_unused(document)
        }
        Edit::RemoveDelegation { name } => {
            let delegations = section(document, "delegations")?;
            let products = match table(delegations, name) {
                Some(entry) => entry.get("products").and_then(Item::as_array).map(names).unwrap_or_default(),
                None => {
                    return Err(Error::usage(format!("there is no delegation `{name}`"), "see `sealift root show`"));
                }
            };
            delegations.remove(name);
            let all = section(document, "products")?;
            for product in products {
                all.remove(&product);
            }
            forget_unused(document)
        }
    }
}

fn missing(what: &str) -> Error {
    Error::input("sealift.toml", format!("{what} is missing"), "`sealift init --help` shows the format")
}

fn integer(number: u64) -> Result<Item> {
    let fault = || Error::usage(format!("{number} is more than sealift.toml can say"), "use a smaller number");
    i64::try_from(number).map(value).map_err(|_| fault())
}

fn table<'d>(inside: &'d mut dyn TableLike, name: &str) -> Option<&'d mut dyn TableLike> {
    inside.get_mut(name)?.as_table_like_mut()
}

fn section<'d>(document: &'d mut DocumentMut, name: &str) -> Result<&'d mut dyn TableLike> {
    table(document.as_table_mut(), name).ok_or_else(|| missing(name))
}

/// Sets a value; the comment behind the old one stays.
fn replace(entry: &mut dyn TableLike, name: &str, item: Item) {
    match (entry.get_mut(name), item) {
        (Some(Item::Value(old)), Item::Value(mut new)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        (_, item) => drop(entry.insert(name, item)),
    }
}

fn all_roles(document: &mut DocumentMut) -> Vec<String> {
    let mut roles: Vec<String> = Role::ALL.iter().map(|role| role.name().to_owned()).collect();
    if let Ok(delegations) = section(document, "delegations") {
        roles.extend(delegations.iter().map(|(name, _)| name.to_owned()));
    }
    roles
}

/// The table of a role or delegation.
fn role<'d>(document: &'d mut DocumentMut, role: &str) -> Result<&'d mut dyn TableLike> {
    let known = all_roles(document);
    let top = Role::ALL.iter().any(|top| top.name() == role);
    let section = section(document, if top { "roles" } else { "delegations" })?;
    table(section, role).ok_or_else(|| {
        Error::usage(format!("there is no role `{role}`"), format!("the roles are: {}", known.join(", ")))
    })
}

fn set(document: &mut DocumentMut, of: &str, name: &str, item: Item) -> Result<()> {
    if name == "counter-ceiling" && Role::ALL.iter().any(|top| top.name() == of) {
        return Err(Error::usage(format!("{of} has no ceiling of its own"), "name a delegation, or none for root's"));
    }
    replace(role(document, of)?, name, item);
    Ok(())
}

fn keys_of<'d>(document: &'d mut DocumentMut, of: &str) -> Result<&'d mut Array> {
    let entry = role(document, of)?;
    entry.get_mut("keys").and_then(Item::as_array_mut).ok_or_else(|| missing(&format!("keys of {of}")))
}

fn names(keys: &Array) -> Vec<String> {
    keys.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn position(keys: &Array, name: &str) -> Option<usize> {
    keys.iter().position(|listed| listed.as_str() == Some(name))
}

/// Lists a key under `[keys]`, or checks that it is listed.
fn define(document: &mut DocumentMut, name: &str, key: Option<&NewKey>) -> Result<()> {
    let keys = section(document, "keys")?;
    match (keys.get(name), key) {
        (Some(_), None) => Ok(()),
        (None, None) => {
            let known: Vec<_> = keys.iter().map(|(name, _)| name.to_owned()).collect();
            Err(Error::usage(
                format!("no key `{name}` is listed"),
                format!("give it with --uri and --public, or choose one of: {}", known.join(", ")),
            ))
        }
        (Some(_), Some(_)) => Err(Error::usage(
            format!("a key `{name}` is listed already"),
            "leave --uri and --public out to use it, or give the new key another name",
        )),
        (None, Some(key)) => {
            let mut entry = Table::new();
            entry.insert("uri", value(key.uri.as_str()));
            entry.insert("custody", value(key.custody.as_str()));
            entry.insert("public", value(key.public.as_str()));
            keys.insert(name, Item::Table(entry));
            Ok(())
        }
    }
}

/// A key that no role lists any more goes: whoever reads the file should not take it for one that signs.
fn forget_unused(document: &mut DocumentMut) -> Result<()> {
    let mut used = Vec::new();
    for role in all_roles(document) {
        used.extend(keys_of(document, &role).map(|keys| names(keys))?);
    }
    let keys = section(document, "keys")?;
    let unused: Vec<String> =
        keys.iter().map(|(name, _)| name.to_owned()).filter(|name| !used.contains(name)).collect();
    for name in unused {
        keys.remove(&name);
    }
    Ok(())
}

/// The same project with other keys, another id and another directory: what a drill rehearses with.
pub fn stand_in(text: &str, id: &str, keys: impl Fn(&str) -> Result<NewKey>) -> Result<String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| Error::input("sealift.toml", error, "correct this line"))?;
    let repository = section(&mut document, "repository")?;
    replace(repository, "id", value(id));
    replace(repository, "directory", value("repository"));
    document.insert("development", value(true));
    let table = section(&mut document, "keys")?;
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let key = keys(&name)?;
        let entry = self::table(table, &name).ok_or_else(|| missing(&name))?;
        replace(entry, "uri", value(key.uri));
        replace(entry, "public", value(key.public));
    }
    Ok(document.to_string())
}
