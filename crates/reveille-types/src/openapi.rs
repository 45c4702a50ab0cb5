//! How the types that are text, or otherwise their own, look in an OpenAPI document.

use utoipa::openapi::schema::{
    ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::gap::PositionRanges;
use crate::sets::{OverflowPolicy, OverflowReason};
use crate::wire::SignalMergeMode;
use crate::{
    Attributes, Class, Condition, Cursor, EventId, Finality, Pattern, Position, Seq, SessionPattern,
};

macro_rules! text {
    ($($name:ident: $about:literal,)+) => {
        $(impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
                text.description(Some($about)).into()
            }
        }

        impl ToSchema for $name {})+
    };
}

text! {
    Cursor: "Where a reader stands: opaque text of [0-9a-z._-], at most 128 bytes.",
    EventId: "The id that the producer gave, or one that was made for it.",
    Pattern: "A dotted pattern over kinds: * is one segment, ** any number.",
    SessionPattern: "A pattern over names of sessions, in which * is any characters.",
    Position: "A place in a log: 20 digits.",
    Seq: "A place in the order of a tenant: 20 digits.",
    Class: "normal, progress, metering or control.",
    Finality: "none, operation or session.",
    OverflowPolicy: "What is given up when a reader is too slow.",
    OverflowReason: "Why these events were given up.",
}

impl PartialSchema for PositionRanges {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer));
        let range = ArrayBuilder::new()
            .items(number)
            .min_items(Some(2))
            .max_items(Some(2));
        ArrayBuilder::new().items(range).into()
    }
}

impl ToSchema for PositionRanges {}

impl PartialSchema for SignalMergeMode {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(["all_settled", "fail_fast", "any"]));
        let number = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .minimum(Some(1));
        RefOr::T(Schema::OneOf(
            OneOfBuilder::new().item(word).item(number).build(),
        ))
    }
}

impl ToSchema for SignalMergeMode {}

impl PartialSchema for Condition {
    fn schema() -> RefOr<Schema> {
        let of_type = |of: Type| ObjectBuilder::new().schema_type(SchemaType::new(of));
        let object = of_type(Type::Object)
            .description(Some(
                "One of prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric and exists, with what it is compared to.",
            ))
            .min_properties(Some(1))
            .max_properties(Some(1));
        let any = OneOfBuilder::new()
            .item(of_type(Type::String))
            .item(of_type(Type::Number))
            .item(object);
        RefOr::T(Schema::OneOf(any.build()))
    }
}

impl ToSchema for Condition {}

impl PartialSchema for Attributes {
    fn schema() -> RefOr<Schema> {
        let conditions = ArrayBuilder::new()
            .items(Ref::from_schema_name("Condition"))
            .min_items(Some(1));
        let alternatives = ArrayBuilder::new()
            .items(Ref::from_schema_name("Attributes"))
            .min_items(Some(2))
            .description(Some("Alternatives, of which one must match."));
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Object))
            .description(Some(
                "Conditions by the names of attributes: of each attribute one must hold.",
            ))
            .min_properties(Some(1))
            .property("$or", alternatives)
            .additional_properties(Some(conditions))
            .into()
    }
}

impl ToSchema for Attributes {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Condition".to_owned(), Condition::schema()));
    }
}
