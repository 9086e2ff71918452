//! Every refusal, in one flat table. Codes are stable: they stand in job status details, in tools' output and in the docs.

use core::fmt;

use sealift_manifests::{DecodeError, Role};

use crate::malformation::Malformation;

/// Why the verifier refused. Nothing was changed by whatever returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// 101 to 199: the bytes are not in the format; the code is 100 and the number of the [`sealift_manifests::Fault`].
    Malformed(Role, Malformation),

    /// 201: fewer distinct authorised keys signed than the role's threshold.
    ThresholdNotMet(Role),
    /// 202: a threshold of 0, or above the number of distinct keys.
    ThresholdInvalid(Role),
    /// 203: a key of the published example keys, outside development.
    ExampleKey(Role),
    /// 204: more keys than this build can remember for a floor.
    TooManySigners(Role),

    /// 301: signed for another repository.
    WrongRepository(Role),
    /// 302: a root that is not the successor of the trusted one.
    RootNotNext,
    /// 303: a targets file of another role than the one asked for.
    WrongRoleName,
    /// 304: the file's length is not the pinned one.
    LengthMismatch(Role),
    /// 305: the file's hash is not the pinned one.
    HashMismatch(Role),
    /// 306: the file's version is not the pinned one.
    VersionMismatch(Role),
    /// 307: the snapshot does not list a targets file that it must list.
    NotInSnapshot,
    /// 308: the top-level targets file delegates the product to more than one role.
    AmbiguousDelegation,
    /// 309: an extension that must be understood and is not.
    UnknownCritical(Role),
    /// 310: a file came before the one that vouches for it.
    OutOfOrder(Role),

    /// 401: older than what was accepted before.
    Rollback(Role),
    /// 402: another content under a version that was accepted before.
    VersionReused(Role),
    /// 403: expired.
    Expired(Role),
    /// 404: more root updates in one session than it may work through; go on in the next.
    TooManyRoots,
    /// 405: no time is known and the policy wants one.
    ClockRequired,

    /// 501: no target of that digest is listed (any more): superseded or withdrawn.
    TargetNotListed,
    /// 502: for another product.
    WrongProduct,
    /// 503: for another component.
    WrongComponent,
    /// 504: for other hardware.
    WrongHardware,
    /// 505: its security counter is below the device's.
    CounterTooLow,
    /// 506: its security counter is above the ceiling that root or the delegation set.
    CounterAboveCeiling,
    /// 507: a bridge release must be installed first.
    BridgeRequired,
    /// 508: none of its payloads fits this device.
    NoUsablePayload,

    /// 601: the payload is longer than what was signed.
    PayloadTooLong,
    /// 602: the payload ended before its signed length.
    PayloadTruncated,
    /// 603: the payload's hash is not the signed one.
    PayloadHash,
    /// 604: the running image is not the delta's base.
    BaseMismatch,
    /// 605: what stands in the slot is not the signed image.
    ImageHash,
    /// 606: the image does not fit the slot.
    SlotTooSmall,
    /// 607: the payload does not decode.
    PayloadCorrupt,
    /// 608: the payload wants more decoder memory or a larger window than this device has.
    DecoderTooSmall,

    /// 701: the storage failed to read, write or erase.
    Storage,
    /// 702: a stored record is damaged.
    StateCorrupt,
    /// 703: no slot holds an image that may run.
    NothingBootable,
    /// 704: the operation does not fit the state of the device.
    WrongState,
    /// 705: a caller's buffer is too small.
    BufferTooSmall,
    /// 706: the new image did not confirm itself and was reverted.
    Reverted,
}

/// What a refusal means for the job that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It will not become right by trying again: report REJECTED.
    Permanent,
    /// It may: report FAILED, so that it is retried.
    Transient,
    /// What was offered is older than what there is or stands beside it under the same version, or has expired: fetch the
    /// latest metadata, and failing that FAILED.
    Stale,
}

/// A device's code passes refusals on all the time: in a register each of these steps is two instructions.
const _: () = assert!(size_of::<Error>() == 4 && size_of::<Result<(), Error>>() == 4);

impl Error {
    /// The bytes of a role are not in the format.
    pub fn malformed(role: Role, why: DecodeError) -> Self {
        Error::Malformed(role, why.into())
    }

    /// The stable number.
    pub const fn code(self) -> u16 {
        match self {
            Error::Malformed(_, error) => 100 + error.number() as u16,
            Error::ThresholdNotMet(_) => 201,
            Error::ThresholdInvalid(_) => 202,
            Error::ExampleKey(_) => 203,
            Error::TooManySigners(_) => 204,
            Error::WrongRepository(_) => 301,
            Error::RootNotNext => 302,
            Error::WrongRoleName => 303,
            Error::LengthMismatch(_) => 304,
            Error::HashMismatch(_) => 305,
            Error::VersionMismatch(_) => 306,
            Error::NotInSnapshot => 307,
            Error::AmbiguousDelegation => 308,
            Error::UnknownCritical(_) => 309,
            Error::OutOfOrder(_) => 310,
            Error::Rollback(_) => 401,
            Error::VersionReused(_) => 402,
            Error::Expired(_) => 403,
            Error::TooManyRoots => 404,
            Error::ClockRequired => 405,
            Error::TargetNotListed => 501,
            Error::WrongProduct => 502,
            Error::WrongComponent => 503,
            Error::WrongHardware => 504,
            Error::CounterTooLow => 505,
            Error::CounterAboveCeiling => 506,
            Error::BridgeRequired => 507,
            Error::NoUsablePayload => 508,
            Error::PayloadTooLong => 601,
            Error::PayloadTruncated => 602,
            Error::PayloadHash => 603,
            Error::BaseMismatch => 604,
            Error::ImageHash => 605,
            Error::SlotTooSmall => 606,
            Error::PayloadCorrupt => 607,
            Error::DecoderTooSmall => 608,
            Error::Storage => 701,
            Error::StateCorrupt => 702,
            Error::NothingBootable => 703,
            Error::WrongState => 704,
            Error::BufferTooSmall => 705,
            Error::Reverted => 706,
        }
    }

    /// What happened, in a sentence without its subject.
    pub const fn message(self) -> &'static str {
        match self {
            Error::Malformed(_, error) => error.fault().message(),
            Error::ThresholdNotMet(_) => "fewer authorised keys signed than the threshold asks for",
            Error::ThresholdInvalid(_) => "a threshold of 0 or above the number of distinct keys",
            Error::ExampleKey(_) => "a published example key, which is refused outside development",
            Error::TooManySigners(_) => "more signing keys than this device can remember",
            Error::WrongRepository(_) => "signed for another repository",
            Error::RootNotNext => "not the successor of the trusted root",
            Error::WrongRoleName => "a targets file of another role than the one asked for",
            Error::LengthMismatch(_) => "the length is not the one that was pinned",
            Error::HashMismatch(_) => "the hash is not the one that was pinned",
            Error::VersionMismatch(_) => "the version is not the one that was pinned",
            Error::NotInSnapshot => "the snapshot does not list a targets file it must list",
            Error::AmbiguousDelegation => "the product is delegated to more than one role",
            Error::UnknownCritical(_) => "an extension that must be understood and is not",
            Error::OutOfOrder(_) => "the file came before the one that vouches for it",
            Error::Rollback(_) => "older than what was accepted before",
            Error::VersionReused(_) => "another content under a version that was accepted before",
            Error::Expired(_) => "expired",
            Error::TooManyRoots => "more root updates than one session may work through; the next goes on from here",
            Error::ClockRequired => "no time is known and the policy asks for one",
            Error::TargetNotListed => "the target is not listed: superseded or withdrawn",
            Error::WrongProduct => "for another product",
            Error::WrongComponent => "for another component",
            Error::WrongHardware => "for other hardware",
            Error::CounterTooLow => "its security counter is below the device's",
            Error::CounterAboveCeiling => "its security counter is above the ceiling that root or the delegation set",
            Error::BridgeRequired => "an earlier release must be installed first",
            Error::NoUsablePayload => "none of its payloads fits this device",
            Error::PayloadTooLong => "the payload is longer than what was signed",
            Error::PayloadTruncated => "the payload ended before its signed length",
            Error::PayloadHash => "the payload's hash is not the signed one",
            Error::BaseMismatch => "the installed image is not the delta's base",
            Error::ImageHash => "the slot does not hold the signed image",
            Error::SlotTooSmall => "the image does not fit the slot",
            Error::PayloadCorrupt => "the payload does not decode",
            Error::DecoderTooSmall => "the payload wants more decoder memory than this device has",
            Error::Storage => "the storage failed to read, write or erase",
            Error::StateCorrupt => "a stored record is damaged",
            Error::NothingBootable => "no slot holds an image that may run",
            Error::WrongState => "this operation does not fit the state of the device",
            Error::BufferTooSmall => "a buffer is too small",
            Error::Reverted => "the new image did not confirm itself and was reverted",
        }
    }

    /// The role whose file it is about, where there is one.
    pub const fn role(self) -> Option<Role> {
        match self {
            Error::Malformed(role, _)
            | Error::ThresholdNotMet(role)
            | Error::ThresholdInvalid(role)
            | Error::ExampleKey(role)
            | Error::TooManySigners(role)
            | Error::WrongRepository(role)
            | Error::LengthMismatch(role)
            | Error::HashMismatch(role)
            | Error::VersionMismatch(role)
            | Error::UnknownCritical(role)
            | Error::OutOfOrder(role)
            | Error::Rollback(role)
            | Error::VersionReused(role)
            | Error::Expired(role) => Some(role),
            Error::RootNotNext | Error::TooManyRoots => Some(Role::Root),
            _ => None,
        }
    }

    /// What it means for the job that led to it.
    pub const fn disposition(self) -> Disposition {
        match self {
            // A second content under one version is what a device sees that took a thief's file first. The genuine owner
            // signs a higher version next, or root revokes the thief: a REJECTED would outlast both.
            Error::Rollback(_) | Error::VersionReused(_) | Error::Expired(_) => Disposition::Stale,
            Error::TooManyRoots
            | Error::ClockRequired
            | Error::BridgeRequired
            | Error::PayloadTruncated
            | Error::Storage
            | Error::WrongState
            | Error::BufferTooSmall
            | Error::Reverted => Disposition::Transient,
            _ => Disposition::Permanent,
        }
    }
}

/// `SL-403 timestamp: expired`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SL-{:03} ", self.code())?;
        if let Some(role) = self.role() {
            write!(f, "{role}: ")?;
        }
        f.write_str(self.message())?;
        match self {
            Error::Malformed(_, error) => write!(f, " ({error})"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

/// One of every kind of refusal, for tables and tests.
pub const ALL: &[Error] = &[
    Error::ThresholdNotMet(Role::Root),
    Error::ThresholdInvalid(Role::Root),
    Error::ExampleKey(Role::Root),
    Error::TooManySigners(Role::Root),
    Error::WrongRepository(Role::Root),
    Error::RootNotNext,
    Error::WrongRoleName,
    Error::LengthMismatch(Role::Snapshot),
    Error::HashMismatch(Role::Snapshot),
    Error::VersionMismatch(Role::Snapshot),
    Error::NotInSnapshot,
    Error::AmbiguousDelegation,
    Error::UnknownCritical(Role::Targets),
    Error::OutOfOrder(Role::Targets),
    Error::Rollback(Role::Timestamp),
    Error::VersionReused(Role::Timestamp),
    Error::Expired(Role::Timestamp),
    Error::TooManyRoots,
    Error::ClockRequired,
    Error::TargetNotListed,
    Error::WrongProduct,
    Error::WrongComponent,
    Error::WrongHardware,
    Error::CounterTooLow,
    Error::CounterAboveCeiling,
    Error::BridgeRequired,
    Error::NoUsablePayload,
    Error::PayloadTooLong,
    Error::PayloadTruncated,
    Error::PayloadHash,
    Error::BaseMismatch,
    Error::ImageHash,
    Error::SlotTooSmall,
    Error::PayloadCorrupt,
    Error::DecoderTooSmall,
    Error::Storage,
    Error::StateCorrupt,
    Error::NothingBootable,
    Error::WrongState,
    Error::BufferTooSmall,
    Error::Reverted,
];
