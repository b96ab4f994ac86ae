//! Families of operators that differ in nothing but the function they apply, by ONNX's names.

use std::fmt;

/// An enum whose members are ONNX operators, with the way from and to their names.
macro_rules! family {
    ($(#[$doc:meta])* $name:ident { $($member:ident = $onnx:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the members are ONNX's operators of that name")]
        pub enum $name { $($member),* }

        impl $name {
            /// All members.
            pub const ALL: &'static [Self] = &[$(Self::$member),*];

            /// ONNX's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$member => $onnx),* }
            }

            /// The member that ONNX calls `name`.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

family! {
    /// One input, one output of its shape.
    Unary {
        Abs = "Abs", Acos = "Acos", Acosh = "Acosh", Asin = "Asin", Asinh = "Asinh", Atan = "Atan",
        Atanh = "Atanh", Ceil = "Ceil", Cos = "Cos", Cosh = "Cosh", Erf = "Erf", Exp = "Exp",
        Floor = "Floor", HardSwish = "HardSwish", IsNaN = "IsNaN", Log = "Log", Mish = "Mish",
        Neg = "Neg", Not = "Not", Reciprocal = "Reciprocal", Relu = "Relu", Round = "Round",
        Sigmoid = "Sigmoid", Sign = "Sign", Sin = "Sin", Sinh = "Sinh", Softplus = "Softplus",
        Softsign = "Softsign", Sqrt = "Sqrt", Tan = "Tan", Tanh = "Tanh",
    }
}

family! {
    /// Two inputs that are broadcast against each other.
    Binary {
        Add = "Add", And = "And", Div = "Div", Equal = "Equal", Greater = "Greater",
        GreaterOrEqual = "GreaterOrEqual", Less = "Less", LessOrEqual = "LessOrEqual", Mul = "Mul",
        Or = "Or", PRelu = "PRelu", Pow = "Pow", Sub = "Sub", Xor = "Xor",
    }
}

impl Binary {
    /// Whether the result is a boolean.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::Greater | Self::GreaterOrEqual | Self::Less | Self::LessOrEqual
        )
    }

    /// Whether the inputs may be exchanged.
    pub fn is_commutative(self) -> bool {
        matches!(self, Self::Add | Self::Mul | Self::And | Self::Or | Self::Xor | Self::Equal)
    }
}

family! {
    /// One or more inputs that are broadcast against each other.
    Variadic { Max = "Max", Mean = "Mean", Min = "Min", Sum = "Sum" }
}

family! {
    /// A function over axes.
    Reduction {
        L1 = "ReduceL1", L2 = "ReduceL2", LogSum = "ReduceLogSum", LogSumExp = "ReduceLogSumExp",
        Max = "ReduceMax", Mean = "ReduceMean", Min = "ReduceMin", Prod = "ReduceProd",
        Sum = "ReduceSum", SumSquare = "ReduceSumSquare",
    }
}

/// What follows a fused operator.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(
    missing_docs,
    reason = "the members are ONNX's operators of that name, with their parameters"
)]
pub enum Activation {
    Relu,
    Sigmoid,
    Tanh,
    HardSwish,
    /// With the error function, or its tanh approximation.
    Gelu {
        tanh: bool,
    },
    LeakyRelu {
        alpha: f32,
    },
    /// Between constants; `ReLU6` is one.
    Clip {
        min: f32,
        max: f32,
    },
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relu => f.write_str("Relu"),
            Self::Sigmoid => f.write_str("Sigmoid"),
            Self::Tanh => f.write_str("Tanh"),
            Self::HardSwish => f.write_str("HardSwish"),
            Self::Gelu { tanh: false } => f.write_str("Gelu"),
            Self::Gelu { tanh: true } => f.write_str("Gelu(tanh)"),
            Self::LeakyRelu { alpha } => write!(f, "LeakyRelu({alpha})"),
            Self::Clip { min, max } => write!(f, "Clip({min}, {max})"),
        }
    }
}
