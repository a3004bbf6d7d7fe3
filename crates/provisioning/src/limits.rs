//! Limits, in two columns: ours, and AWS's for `COMPAT = "aws"`.

/// What a template may cost and hold.
///
/// AWS's column is from the service model (`TemplateBody`, `Parameter`, `Value`) and from "Provisioning templates" in
/// the AWS IoT developer guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a template's text.
    pub template_bytes: usize,
    /// Characters of a parameter's name.
    pub parameter_name_length: usize,
    /// Characters of a parameter's value, which has to hold a request for a certificate.
    pub parameter_value_length: usize,
    /// Parameters that a device, a hook or a line of a bulk registration gives.
    pub parameters: usize,
    /// Policies that one template attaches.
    pub policies: usize,
    /// Bytes of all text that an evaluation makes, on its way and in the end: some ten times what a device needs, and
    /// what it is told of it fits into a message. AWS does not say what its bound is.
    pub output_bytes: usize,
    /// Whether `Mappings` and the functions besides `Ref` work in every template. The guide gives them to fleet
    /// provisioning only.
    pub functions_everywhere: bool,
}

impl Limits {
    /// The default: what the platform can bear.
    pub const STANDARD: Self = Self {
        template_bytes: 10_240,
        parameter_name_length: 2_048,
        parameter_value_length: 4_096,
        parameters: 256,
        policies: 10,
        output_bytes: 64 * 1_024,
        functions_everywhere: true,
    };

    /// AWS's own limits, for `COMPAT = "aws"`.
    pub const AWS: Self = Self { functions_everywhere: false, ..Self::STANDARD };
}
