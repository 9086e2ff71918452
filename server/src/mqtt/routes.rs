//! Who gets what: subscriptions as a tree of levels, so that finding the subscribers of a topic takes as many steps as
//! it has levels, and not as many as there are devices.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::Qos;
use super::session::Session;

/// The tree of all subscriptions.
#[derive(Default)]
pub(super) struct Routes {
    root: Node,
}

#[derive(Default)]
struct Node {
    children: Option<HashMap<Box<str>, Node>>,
    /// Few subscribe to the same filter; a list is smallest for the many filters that one client has.
    subscribers: Vec<(Arc<Session>, Qos)>,
}

impl Routes {
    /// Adds a subscription, or changes the QoS of one.
    pub(super) fn subscribe(&mut self, filter: &str, session: &Arc<Session>, qos: Qos) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = node.children.get_or_insert_default().entry(level.into()).or_default();
        }
        match node.subscribers.iter_mut().find(|(one, _)| Arc::ptr_eq(one, session)) {
            Some((_, was)) => *was = qos,
            None => node.subscribers.push((session.clone(), qos)),
        }
    }

    /// Removes a subscription, and every branch that nobody needs any more.
    pub(super) fn unsubscribe(&mut self, filter: &str, session: &Arc<Session>) {
        let levels: Vec<&str> = filter.split('/').collect();
        remove(&mut self.root, &levels, session);
    }

    /// Everybody who gets a message on `topic`, once each, with the highest QoS granted.
    pub(super) fn subscribers(&self, topic: &str) -> Vec<(Arc<Session>, Qos)> {
        let levels: Vec<&str> = topic.split('/').collect();
        let mut found: Vec<(Arc<Session>, Qos)> = Vec::new();
        // A wildcard in the first place never matches AWS's own topics (MQTT 5, section 4.7.2).
        collect(&self.root, &levels, topic.starts_with('$'), &mut found);
        found
    }
}

fn remove(node: &mut Node, levels: &[&str], session: &Arc<Session>) {
    let Some((first, rest)) = levels.split_first() else {
        node.subscribers.retain(|(one, _)| !Arc::ptr_eq(one, session));
        return;
    };
    let Some(children) = node.children.as_mut() else { return };
    if let Some(child) = children.get_mut(*first) {
        remove(child, rest, session);
        if child.subscribers.is_empty() && child.children.is_none() {
            children.remove(*first);
        }
    }
    if children.is_empty() {
        node.children = None;
    }
}

fn collect(node: &Node, levels: &[&str], no_wildcard: bool, found: &mut Vec<(Arc<Session>, Qos)>) {
    let child = |level: &str| node.children.as_ref().and_then(|children| children.get(level));
    if !no_wildcard && let Some(all) = child("#") {
        add(all, found);
    }
    let Some((first, rest)) = levels.split_first() else {
        add(node, found);
        return;
    };
    if let Some(exact) = child(first) {
        collect(exact, rest, false, found);
    }
    if !no_wildcard && let Some(any) = child("+") {
        collect(any, rest, false, found);
    }
}

fn add(node: &Node, found: &mut Vec<(Arc<Session>, Qos)>) {
    for (session, qos) in &node.subscribers {
        match found.iter_mut().find(|(one, _)| Arc::ptr_eq(one, session)) {
            Some((_, was)) => *was = (*was).max(*qos),
            None => found.push((session.clone(), *qos)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Arc<Session> {
        Arc::new(Session::new(crate::mqtt::owner::Owner::Thing(name.parse().unwrap()), name.into()))
    }

    fn names(routes: &Routes, topic: &str) -> Vec<String> {
        let mut names: Vec<String> = routes.subscribers(topic).iter().map(|(s, _)| s.owner.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn wildcards_match_as_mqtt_says_and_each_client_counts_once() {
        let (a, b, c) = (client("a"), client("b"), client("c"));
        let mut routes = Routes::default();
        routes.subscribe("x/#", &a, Qos::Zero);
        routes.subscribe("x/+/z", &a, Qos::One);
        routes.subscribe("+/y", &b, Qos::Zero);
        routes.subscribe("#", &c, Qos::Zero);
        assert_eq!(names(&routes, "x"), ["a", "c"]);
        assert_eq!(names(&routes, "x/y"), ["a", "b", "c"]);
        assert_eq!(names(&routes, "x/y/z"), ["a", "c"]);
        let one = routes.subscribers("x/y/z").into_iter().find(|(s, _)| Arc::ptr_eq(s, &a)).unwrap();
        assert_eq!(one.1, Qos::One);
        assert_eq!(names(&routes, "$aws/y"), [""; 0]);
        for (filter, who) in [("x/#", &a), ("x/+/z", &a), ("+/y", &b), ("#", &c), ("not/there", &c)] {
            routes.unsubscribe(filter, who);
        }
        assert!(routes.root.children.is_none(), "nothing is left of the tree");
    }
}
