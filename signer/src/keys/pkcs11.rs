//! `pkcs11:…`: a key on a token or HSM that never leaves it, through the module its vendor gives (PKCS#11 3.0,
//! `CKM_EDDSA`; URIs as in RFC 7512).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as TokenError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use sealift_manifests::PublicKey;

use super::{KeySource, TokenUri, file, secret};
use crate::error::{Error, Result};
use crate::input;

/// Variable that names the module where the URI does not.
const MODULE: &str = "SEALIFT_PKCS11_MODULE";
/// The curve's name in DER: the object identifier 1.3.101.112 (RFC 8410).
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
/// The same as Debian's SoftHSM 2.6 and OpenSC write it: the PrintableString `edwards25519` (PKCS#11 3.0, section 2.3.10).
const EDWARDS25519: [u8; 14] = *b"\x13\x0cedwards25519";

/// Modules that this process has loaded: each may be initialised once.
static MODULES: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

struct TokenKey {
    place: String,
    session: Session,
    key: ObjectHandle,
    public: PublicKey,
}

/// Opens the key. `None` when its token is not plugged in.
pub(super) fn open(uri: &TokenUri, folder: &Path) -> Result<Option<Box<dyn KeySource>>> {
    let place = uri.to_string();
    let fail = |act: &'static str| failure(&place, act);
    let module = module(uri)?;
    let Some((slot, path)) = find_slot(&module, uri)? else { return Ok(None) };
    let session = module.open_ro_session(slot).map_err(fail("open a session"))?;
    log_in(&session, uri, folder, path)?;
    let key = find(&session, uri, ObjectClass::PRIVATE_KEY)?;
    let public = public_of(&session, key, uri)?;
    Ok(Some(Box::new(TokenKey { place, session, key, public })))
}

/// Makes a key on the token: it never leaves it.
pub(super) fn generate(uri: &TokenUri) -> Result<PublicKey> {
    let place = uri.to_string();
    let fail = |act: &'static str| failure(&place, act);
    let module = module(uri)?;
    let Some((slot, path)) = find_slot(&module, uri)? else {
        return Err(Error::input(&place, "no such token is plugged in", "compare `pkcs11-tool --list-slots`"));
    };
    let session = module.open_rw_session(slot).map_err(fail("open a session"))?;
    log_in(&session, uri, Path::new(""), path)?;
    let name = |class| {
        let mut template = vec![Attribute::Class(class)];
        template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        template.extend(uri.id.clone().map(Attribute::Id));
        template
    };
    if !session.find_objects(&name(ObjectClass::PRIVATE_KEY)).map_err(fail("list keys"))?.is_empty() {
        return Err(Error::refused(
            format!("{place} exists, and a key is never overwritten"),
            "choose another label or id",
        ));
    }
    // Without an id nothing would tie the two halves together.
    let mut id = vec![0; 8];
    getrandom::fill(&mut id).map_err(|error| Error::failed(format!("the system gives no randomness: {error}"), ""))?;
    let id = uri.id.clone().unwrap_or(id);
    let label = uri.object.clone().unwrap_or_else(|| "sealift".into()).into_bytes();
    let both = [Attribute::Token(true), Attribute::Label(label), Attribute::Id(id)];
    let mut made = None;
    for curve in [&ED25519[..], &EDWARDS25519] {
        let public = [Attribute::Verify(true), Attribute::Private(false), Attribute::EcParams(curve.to_vec())];
        let private = [
            Attribute::Sign(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ];
        made = Some(session.generate_key_pair(
            &Mechanism::EccEdwardsKeyPairGen,
            &[&both[..], &public].concat(),
            &[&both[..], &private].concat(),
        ));
        if matches!(made, Some(Ok(_))) {
            break;
        }
    }
    match made {
        Some(Ok((public, _))) => point(&session, public, &place)?.ok_or_else(|| no_point(&place)),
        Some(Err(error)) => Err(fail("make a key (does the token know Ed25519?)")(error)),
        None => Err(no_point(&place)),
    }
}

fn module(uri: &TokenUri) -> Result<Pkcs11> {
    let path = uri.module.clone().or_else(|| std::env::var_os(MODULE).map(PathBuf::from));
    let path = path.ok_or_else(|| {
        Error::usage(
            format!("{uri}: no PKCS#11 module is named"),
            format!("add `?module-path=/path/to/module.so` to the URI, or set {MODULE}"),
        )
    })?;
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = modules.iter().find(|(known, _)| *known == path) {
        return Ok(known.clone());
    }
    let remedy = "install the token's PKCS#11 module (Debian: opensc-pkcs11, softhsm2, ykcs11), and name its path";
    let module =
        Pkcs11::new(&path).map_err(|error| Error::input(&path, format!("no PKCS#11 module: {error}"), remedy))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(failure(&path.display().to_string(), "start the module")(error)),
    }
    modules.push((path, module.clone()));
    Ok(module)
}

/// The one token that fits, and whether it asks for its PIN on a keypad of its own.
fn find_slot(module: &Pkcs11, uri: &TokenUri) -> Result<Option<(Slot, bool)>> {
    let place = uri.to_string();
    let fail = |act: &'static str| failure(&place, act);
    let mut found = Vec::new();
    for slot in module.get_slots_with_token().map_err(fail("list tokens"))? {
        let info = module.get_token_info(slot).map_err(fail("read a token's description"))?;
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is.trim_end());
        if info.token_initialized()
            && fits(&uri.token, info.label())
            && fits(&uri.serial, info.serial_number())
            && fits(&uri.manufacturer, info.manufacturer_id())
            && fits(&uri.model, info.model())
            && uri.slot.is_none_or(|wanted| wanted == slot.id())
        {
            found.push((slot, info.protected_authentication_path()));
        }
    }
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Error::input(
            &place,
            format!("{} tokens fit", found.len()),
            "name the token by `token=LABEL` or `serial=NUMBER`",
        )),
    }
}

fn log_in(session: &Session, uri: &TokenUri, folder: &Path, keypad: bool) -> Result<()> {
    let place = uri.to_string();
    let info = session.get_session_info().map_err(failure(&place, "look at the session"))?;
    // A login holds for every session with the token.
    if matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser) {
        return Ok(());
    }
    let pin = match &uri.pin_file {
        _ if keypad => None,
        Some(path) => Some(pin_file(&folder.join(path))?),
        None => Some(secret::of(&token_name(uri), "PIN")?),
    };
    let pin = pin.map(|pin| AuthPin::from(pin.as_str()));
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(TokenError::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _)) => {
            Err(Error::input(
                &place,
                "the token refuses this PIN",
                "mind that a token locks itself after a few wrong ones; try again",
            ))
        }
        Err(TokenError::Pkcs11(RvError::PinLocked, _)) => Err(Error::input(
            &place,
            "the token is locked after too many wrong PINs",
            "unlock it with its security officer's PIN",
        )),
        Err(error) => Err(failure(&place, "log in")(error)),
    }
}

/// How a person knows the token.
fn token_name(uri: &TokenUri) -> String {
    let name = uri.token.as_ref().or(uri.serial.as_ref());
    name.map_or_else(|| uri.to_string(), |name| format!("token `{name}`"))
}

fn pin_file(path: &Path) -> Result<zeroize::Zeroizing<String>> {
    if let Some(mode) = file::weak_mode(path) {
        return Err(Error::input(
            path,
            format!("the PIN can be read by others (mode {mode:04o})"),
            format!("change the PIN, then `chmod 600 {}`", path.display()),
        ));
    }
    let text = input::read_text(path, "PIN file", 1_024, "write the PIN on its first line")?;
    Ok(text.lines().next().unwrap_or_default().to_owned().into())
}

/// The one object of this class that the URI names.
fn find(session: &Session, uri: &TokenUri, class: ObjectClass) -> Result<ObjectHandle> {
    let place = uri.to_string();
    let mut template = vec![Attribute::Class(class)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    let found = session.find_objects(&template).map_err(failure(&place, "look for the key"))?;
    let [key] = found[..] else {
        let fault = if found.is_empty() { "the token has no such key" } else { "several keys of the token fit" };
        return Err(Error::input(
            &place,
            fault,
            "compare `pkcs11-tool --list-objects`; make one with `sealift keys generate 'pkcs11:token=…;object=…'`",
        ));
    };
    let attributes = session.get_attributes(key, &[AttributeType::KeyType]);
    match attributes.map_err(failure(&place, "read the key's type"))?[..] {
        [Attribute::KeyType(KeyType::EC_EDWARDS)] => Ok(key),
        _ => Err(Error::input(&place, "this key is not Ed25519", "name another key of the token, or make one")),
    }
}

/// The public half: of the private object where it says, else of the public object with the same id.
fn public_of(session: &Session, private: ObjectHandle, uri: &TokenUri) -> Result<PublicKey> {
    let place = uri.to_string();
    if let Some(public) = point(session, private, &place)? {
        return Ok(public);
    }
    let attributes = session.get_attributes(private, &[AttributeType::Id]);
    let id =
        attributes.map_err(failure(&place, "read the key's id"))?.into_iter().find_map(|attribute| match attribute {
            Attribute::Id(id) if !id.is_empty() => Some(id),
            _ => None,
        });
    let public = match id {
        Some(id) => {
            let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)];
            session.find_objects(&template).map_err(failure(&place, "look for the public key"))?.first().copied()
        }
        None => find(session, uri, ObjectClass::PUBLIC_KEY).ok(),
    };
    let public = public.map(|public| point(session, public, &place)).transpose()?.flatten();
    public.ok_or_else(|| no_point(&place))
}

/// `CKA_EC_POINT` of an object: the key itself, or wrapped in DER as an octet string or a bit string.
fn point(session: &Session, object: ObjectHandle, place: &str) -> Result<Option<PublicKey>> {
    let attributes = session.get_attributes(object, &[AttributeType::EcPoint]);
    let bytes =
        attributes.map_err(failure(place, "read the public key"))?.into_iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(bytes) => Some(bytes),
            _ => None,
        });
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    let key = match bytes.len() {
        32 => Some(&bytes[..]),
        34 => bytes.strip_prefix(&[0x04, 32]),
        35 => bytes.strip_prefix(&[0x03, 33, 0]),
        _ => None,
    };
    let key = key.and_then(|key| key.try_into().ok()).map(PublicKey);
    key.map(Some).ok_or_else(|| Error::input(place, "the token's public key is no Ed25519 point", "name another key"))
}

fn no_point(place: &str) -> Error {
    Error::input(
        place,
        "the token does not say the public half of this key",
        "store the public key beside it, under the same id",
    )
}

fn failure(place: &str, act: &'static str) -> impl Fn(TokenError) -> Error {
    let place = place.to_owned();
    move |error| {
        Error::failed(format!("{place}: cannot {act}: {error}"), "check the token and its module, then try again")
    }
}

impl KeySource for TokenKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn signs_anything(&self) -> bool {
        true
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let signature = self.session.sign(&mechanism, self.key, message).map_err(failure(&self.place, "sign"))?;
        let length = signature.len();
        signature.try_into().map_err(|_| {
            Error::failed(format!("{}: the token gave a signature of {length} bytes, not 64", self.place), "try again")
        })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.place)
    }
}
