// Search parameters that R4 does not have.

Instance: imaging-study
InstanceOf: SearchParameter
Usage: #definition
Title: "Reports of an imaging study"
Description: "DiagnosticReports by the study that was read; R4 has no search parameter for DiagnosticReport.imagingStudy."
* url = "https://trabecula.example/fhir/SearchParameter/imaging-study"
* version = "1.0.0"
* name = "ImagingStudy"
* status = #draft
* experimental = false
* date = "2026-11-22"
* publisher = "The Trabecula project"
* description = "DiagnosticReports by the study that was read; R4 has no search parameter for DiagnosticReport.imagingStudy."
* code = #imaging-study
* base[0] = #DiagnosticReport
* type = #reference
* expression = "DiagnosticReport.imagingStudy"
* xpathUsage = #normal
* target[0] = #ImagingStudy
* chain[0] = "identifier"
