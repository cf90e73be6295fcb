//! The groups of a topic, as its status lists them and as one line shows them.

use synapse_api::topic::ConsumerGroupStatus;

use super::{Group, Seen, Wanted};
use crate::status::rounded;

/// The most groups that are listed.
const MAX_GROUPS: usize = 256;
/// The longest name that a status can hold; anybody can make a group of a longer one.
const MAX_NAME: usize = 512;
/// The longest line of groups, in bytes: the schema allows a little more.
const MAX_LINE: usize = 120;

/// The groups on the broker, wanted ones first and in the order in which they are wanted.
pub(super) fn groups(wanted: Option<&Wanted>, seen: &Seen) -> Vec<ConsumerGroupStatus> {
    let rank = |group: &Group| {
        let listed = wanted.and_then(|w| w.groups.iter().position(|(name, _)| *name == group.name));
        (listed.unwrap_or(usize::MAX), group.name.clone())
    };
    let mut sorted: Vec<&Group> = seen.groups.iter().filter(|group| group.name.len() <= MAX_NAME).collect();
    sorted.sort_by_key(|group| rank(group));
    sorted.into_iter().take(MAX_GROUPS).map(group_status).collect()
}

/// The names, in one line as long as a terminal bears; how many more there are where it does not bear all.
pub(super) fn in_one_line(groups: &[ConsumerGroupStatus]) -> String {
    let mut line = String::new();
    for (at, group) in groups.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        if line.len() + comma.len() + group.name.len() > MAX_LINE {
            let more = groups.len() - at;
            return if at == 0 { format!("{more}") } else { format!("{line} and {more} more") };
        }
        line.push_str(comma);
        line.push_str(&group.name);
    }
    line
}

fn group_status(group: &Group) -> ConsumerGroupStatus {
    // Redis gives up counting after deletions inside the stream; that nothing is left is certain even then.
    let lag = group.lag.or_else(|| group.oldest_undelivered.is_none().then_some(0));
    ConsumerGroupStatus {
        name: group.name.clone(),
        lag: lag.map(rounded),
        lag_unknown_reason: lag.is_none().then(|| {
            "Redis cannot count it: entries were deleted inside the stream, or the group began at an arbitrary id"
                .to_owned()
        }),
        pending: rounded(group.pending),
        consumers: rounded(group.consumers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(names: &[&str]) -> String {
        let group = |name: &&str| ConsumerGroupStatus { name: (*name).to_owned(), ..Default::default() };
        in_one_line(&names.iter().map(group).collect::<Vec<_>>())
    }

    #[test]
    fn all_groups_are_named_or_counted() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&["billing"]), "billing");
        assert_eq!(line(&["billing", "search"]), "billing,search");
        let (long, huge) = ("g".repeat(55), "h".repeat(512));
        assert_eq!(line(&[&long, &long, &long, "x"]), format!("{long},{long} and 2 more"));
        assert_eq!(line(&[&huge, "x"]), "2");
        assert!(line(&vec![long.as_str(); 256]).len() <= 140);
    }
}
