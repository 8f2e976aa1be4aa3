//! A pod's priority follows from its class, or from the class that is marked as default. Of default classes there is one;
//! the classes every cluster has stay.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::pod::admission;
use kinds::scheduling::priorityclass::{self, GLOBAL_DEFAULT};
use kinds::{Subresource, tree};
use mvcc::{Interest, Precondition};
use schema::Tree;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
/// Value of [`GLOBAL_DEFAULT`].
const YES: &str = "true";

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !review.is_core("pods") {
        return Ok(());
    }
    match (review.operation, old) {
        (Operation::Create, _) => set(review, object),
        (Operation::Update, Some(old)) => {
            admission::keep_priority(object, old);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn set(review: &Review<'_>, object: &mut Tree) -> ApiResult<()> {
    let name = tree::str_at(object, "metadata.name").to_owned();
    let refuse = |text: String| ApiError::forbidden(&review.kind.group_resource, &name, text);
    let class = match tree::str_at(object, "spec.priorityClassName") {
        "" => default_class(review),
        class => {
            let found = review.objects().get(GROUP, CLASSES, "", class);
            Some(found.ok_or_else(|| refuse(format!("no PriorityClass with name {class} was found")))?)
        }
    };
    admission::set_priority(object, class.as_ref()).map_err(refuse)
}

/// Should there be several after all, the one with the lowest value counts.
fn default_class(review: &Review<'_>) -> Option<Tree> {
    let classes = review.objects().by_attribute(GROUP, CLASSES, GLOBAL_DEFAULT, YES);
    classes.into_iter().min_by_key(|class| tree::int_at(class, "value").unwrap_or(0))
}

pub(super) fn validate(review: &mut Review<'_>, object: &Tree) -> ApiResult<()> {
    let resource = review.kind.resource;
    if resource.plural != CLASSES || resource.group != GROUP || review.sub != Subresource::None {
        return Ok(());
    }
    if review.operation == Operation::Delete {
        let name = &review.context.info.path_name;
        if priorityclass::is_system(name) {
            let text = "this is a system priority class and cannot be deleted";
            return Err(ApiError::forbidden(&review.kind.group_resource, name, text));
        }
        return Ok(());
    }
    if priorityclass::is_default(object) { only_default(review, object) } else { Ok(()) }
}

fn only_default(review: &mut Review<'_>, object: &Tree) -> ApiResult<()> {
    let name = tree::str_at(object, "metadata.name");
    if let Some(class) = default_class(review) {
        let other = tree::str_at(&class, "metadata.name");
        if review.operation == Operation::Create || other != name {
            let text =
                format!("PriorityClass {other} is already marked as default. Only one default can exist");
            return Err(ApiError::forbidden(&review.kind.group_resource, name, text));
        }
    }
    let range = Interest::Attribute {
        resource: review.kind.stored_as.clone(),
        name: GLOBAL_DEFAULT.into(),
        value: YES.into(),
    };
    let since = review.view.revision();
    review.require(Precondition::Unchanged { range, since });
    Ok(())
}
