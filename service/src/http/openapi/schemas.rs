//! Schemas that the derives can't say.

use utoipa::{
    Modify,
    openapi::{
        AllOf, Content, Object, ObjectBuilder, OpenApi, Ref, RefOr, Required, Schema, Type,
        schema::{Components, SchemaType},
    },
};

use super::answers::operations;

/// One of these numbers.
pub(crate) fn one_of(numbers: &[u32]) -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(numbers.iter().copied())).build()
}

/// One of these numbers, or null.
pub(crate) fn one_of_or_null(numbers: &[u32]) -> Object {
    let values = numbers.iter().copied().map(serde_json::Value::from).chain([serde_json::Value::Null]);
    let types = SchemaType::from_iter([Type::Integer, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(values)).build()
}

/// Makes one object of members that serde flattens. As parts of an `allOf`, each closed to the members of the others, they would
/// describe nothing at all.
pub(super) struct Flattened;

impl Modify for Flattened {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let flat: Vec<(String, Object)> = components
            .schemas
            .iter()
            .filter_map(|(name, schema)| {
                let RefOr::T(Schema::AllOf(parts)) = schema else { return None };
                Some((name.clone(), flattened(parts, components)?))
            })
            .collect();
        components
            .schemas
            .extend(flat.into_iter().map(|(name, object)| (name, Schema::Object(object).into())));
    }
}

/// A body without a member that must be there need not be there either: an absent one counts as `{}`.
pub(super) struct OptionalBodies;

impl Modify for OptionalBodies {
    fn modify(&self, document: &mut OpenApi) {
        let Some(components) = &document.components else { return };
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                let Some(RefOr::T(body)) = &mut operation.request_body else { continue };
                if body.content.values().all(|content| is_optional(content, components)) {
                    body.required = Some(Required::False);
                }
            }
        }
    }
}

fn is_optional(content: &RefOr<Content>, components: &Components) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(link)), .. }) = content else { return false };
    matches!(referred(link, components), Some(Schema::Object(object)) if object.required.is_empty())
}

fn flattened(parts: &AllOf, components: &Components) -> Option<Object> {
    let mut whole = Object::with_type(Type::Object);
    whole.description.clone_from(&parts.description);
    for part in &parts.items {
        let object = match part {
            RefOr::T(schema) => schema,
            RefOr::Ref(link) => referred(link, components)?,
        };
        let Schema::Object(object) = object else { return None };
        whole.properties.extend(object.properties.clone());
        whole.required.extend(object.required.iter().cloned());
        if object.additional_properties.is_some() {
            whole.additional_properties.clone_from(&object.additional_properties);
        }
    }
    Some(whole)
}

fn referred<'a>(link: &Ref, components: &'a Components) -> Option<&'a Schema> {
    let name = link.ref_location.strip_prefix("#/components/schemas/")?;
    match components.schemas.get(name)? {
        RefOr::T(schema) => Some(schema),
        RefOr::Ref(_) => None,
    }
}
