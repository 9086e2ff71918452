//! Why a device gets the update in which wave, or what keeps it out.

use serde::{Deserialize, Serialize};

use crate::buckets::bucket_of;
use crate::plan::Plan;

/// A device, as far as waves are concerned.
#[derive(Clone, Debug)]
pub struct Device<'a> {
    /// Its thing name.
    pub thing: &'a str,
    /// Its product.
    pub product: &'a str,
    /// Its thing groups.
    pub groups: &'a [String],
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The first wave that contains it, by index, if any.
    pub wave: Option<usize>,
    /// Why, in a sentence.
    pub why: String,
}

/// In which wave a device is.
pub fn explain(plan: &Plan, device: &Device<'_>) -> Explanation {
    let answer = |wave, why: String| Explanation { wave, why };
    if device.product != plan.product {
        return answer(None, format!("it is a {}, and the plan is for {}", device.product, plan.product));
    }
    let bucket = bucket_of(device.product, device.thing);
    for (index, wave) in plan.waves.iter().enumerate() {
        if wave.things.iter().any(|thing| thing.as_str() == device.thing) {
            return answer(Some(index), format!("wave `{}` names it", wave.name));
        }
        if let Some(group) = wave.groups.iter().find(|group| device.groups.iter().any(|of| of == group.as_str())) {
            return answer(Some(index), format!("it is in group `{group}` of wave `{}`", wave.name));
        }
        if plan.buckets_of(index).contains(&bucket) {
            let upto = wave.percent.unwrap_or(0);
            return answer(
                Some(index),
                format!("its bucket {bucket:02} is among the first {upto} % of this rollout: wave `{}`", wave.name),
            );
        }
    }
    answer(None, format!("no wave names it or its groups, and its bucket {bucket:02} is beyond the last percentage"))
}
