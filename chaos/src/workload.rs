//! What a client does next. Pure: from numbers drawn and what the client knows.

use crate::client::Knowledge;
use crate::seed::Stream;
use crate::words::{
    Action, Content, Guard, Id, NAMES, NAMESPACES, OWNERS, PHASES, Place, RESOURCES, Scope, Step, TAGS, Write,
};

/// Numbered, because a write carries the number of its call.
pub fn action(draw: &mut Stream, knowledge: &Knowledge, call: u32, term: Option<u64>) -> (u32, Action) {
    let action = match draw.within(0..=99) {
        0..=59 => Action::Write(write(draw, knowledge, call, term)),
        60..=78 => Action::Read(any_place(draw)),
        79..=87 => Action::List(draw.pick(&RESOURCES)),
        88..=94 => {
            let back = draw.within(0..=25);
            Action::ListAt(draw.pick(&RESOURCES), knowledge.newest.saturating_sub(back))
        }
        95 | 96 => Action::Snapshot,
        _ => Action::Compact(knowledge.newest.saturating_sub(draw.within(0..=60))),
    };
    (call, action)
}

/// A write that nothing can refuse.
pub fn plain_write(draw: &mut Stream, call: u32) -> Write {
    let (place, id) = (object_place(draw), Id { call, step: 0 });
    Write { guards: Vec::new(), steps: vec![put(draw, place, id)], fence: None }
}

fn write(draw: &mut Stream, knowledge: &Knowledge, call: u32, term: Option<u64>) -> Write {
    let id = Id { call, step: 0 };
    let mut write = match draw.within(0..=99) {
        0..=14 => create(draw, id),
        15..=44 => update(draw, knowledge, id),
        45..=54 => plain_write(draw, call),
        55..=66 => delete(draw, knowledge),
        67..=81 => several(draw, knowledge, call),
        82..=87 => phase(draw, id),
        88..=93 => unless_changed(draw, knowledge, id),
        _ => if_empty(draw, id),
    };
    if draw.percent(12) {
        let term = term.unwrap_or(1);
        write.fence = Some(if draw.percent(25) { term.saturating_sub(1) } else { term });
    }
    write
}

/// As an API server creates: the name is free and the namespace takes new objects.
fn create(draw: &mut Stream, id: Id) -> Write {
    let place = object_place(draw);
    let guards = vec![Guard::Absent(place), Guard::Tag(Place::of_namespace(place.namespace), PHASES[0])];
    Write { guards, steps: vec![put(draw, place, id)], fence: None }
}

/// As an API server updates: what was read is still there.
fn update(draw: &mut Stream, knowledge: &Knowledge, id: Id) -> Write {
    let place = object_place(draw);
    let Some(known) = knowledge.versions.get(&place) else { return create(draw, id) };
    let guards = match draw.within(0..=3) {
        0 => vec![Guard::Exists(place)],
        1 => vec![Guard::Uid(place, known.content.uid)],
        _ => vec![Guard::At(place, known.revision)],
    };
    let tag = if draw.percent(30) { draw.pick(&TAGS) } else { known.content.tag };
    let content = Content { tag, ..known.content };
    Write { guards, steps: vec![Step::Put(place, content)], fence: None }
}

fn delete(draw: &mut Stream, knowledge: &Knowledge) -> Write {
    let place = object_place(draw);
    let known = knowledge.versions.get(&place).filter(|_| draw.percent(70));
    let guards = known.map(|known| Guard::At(place, known.revision)).into_iter().collect();
    Write { guards, steps: vec![Step::Delete(place)], fence: None }
}

/// Two or three objects at once; the same one may be among them twice.
fn several(draw: &mut Stream, knowledge: &Knowledge, call: u32) -> Write {
    let mut write = Write { guards: Vec::new(), steps: Vec::new(), fence: None };
    for step in 0..u8::try_from(draw.within(2..=3)).expect("small") {
        let place = object_place(draw);
        match knowledge.versions.get(&place) {
            Some(known) if draw.percent(40) => {
                write.guards.push(Guard::At(place, known.revision));
                write.steps.push(Step::Delete(place));
            }
            Some(known) if draw.percent(30) => {
                write.guards.push(Guard::At(place, known.revision));
                write.steps.push(put(draw, place, Id { call, step }));
            }
            _ => write.steps.push(put(draw, place, Id { call, step })),
        }
    }
    write
}

/// Opens or closes a namespace.
fn phase(draw: &mut Stream, id: Id) -> Write {
    let place = Place::of_namespace(draw.pick(&NAMESPACES));
    let tag = if draw.percent(75) { PHASES[0] } else { PHASES[1] };
    let content = Content { tag, uid: id, owner: draw.pick(&OWNERS) };
    Write { guards: Vec::new(), steps: vec![Step::Put(place, content)], fence: None }
}

/// As a controller writes: nothing it looked at has changed since.
fn unless_changed(draw: &mut Stream, knowledge: &Knowledge, id: Id) -> Write {
    let since = knowledge.newest.saturating_sub(draw.within(0..=6));
    let guards = vec![Guard::Unchanged(scope(draw), since)];
    let place = object_place(draw);
    Write { guards, steps: vec![put(draw, place, id)], fence: None }
}

fn if_empty(draw: &mut Stream, id: Id) -> Write {
    let namespace = draw.pick(&NAMESPACES);
    let guard = if draw.percent(50) {
        Guard::NamespaceEmpty(namespace)
    } else {
        Guard::RangeEmpty(draw.pick(&RESOURCES[1..]), namespace)
    };
    let place = Place { namespace, ..object_place(draw) };
    Write { guards: vec![guard], steps: vec![put(draw, place, id)], fence: None }
}

/// A set of objects to watch or to depend on.
pub fn scope(draw: &mut Stream) -> Scope {
    match draw.within(0..=9) {
        0 | 1 => Scope::Resource(draw.pick(&RESOURCES)),
        2 | 3 => Scope::Namespace(draw.pick(&RESOURCES[1..]), draw.pick(&NAMESPACES)),
        4 | 5 => Scope::Object(any_place(draw)),
        6 | 7 => Scope::Tag(draw.pick(&RESOURCES[1..]), draw.pick(&TAGS)),
        _ => Scope::Owner(draw.pick(&OWNERS)),
    }
}

fn put(draw: &mut Stream, place: Place, id: Id) -> Step {
    Step::Put(place, Content { tag: draw.pick(&TAGS), uid: id, owner: draw.pick(&OWNERS) })
}

fn object_place(draw: &mut Stream) -> Place {
    let resource = draw.pick(&RESOURCES[1..]);
    Place { resource, namespace: draw.pick(&NAMESPACES), name: draw.pick(&NAMES) }
}

fn any_place(draw: &mut Stream) -> Place {
    if draw.percent(15) { Place::of_namespace(draw.pick(&NAMESPACES)) } else { object_place(draw) }
}
