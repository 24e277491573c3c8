"""The health fund's register: `health.v1.InsuranceRegistry`."""
