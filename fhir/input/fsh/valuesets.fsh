ValueSet: CtBoneMetrics
Id: ct-bone-metrics-all
Title: "What is measured"
Description: "Every metric of the project."
* ^experimental = false
* include codes from system $metrics

ValueSet: CtBoneCategories
Id: ct-bone-categories
Title: "Ranges of trabecular density"
Description: "What a screening can say of the density; there is no normal."
* ^experimental = false
* include codes from system $category

ValueSet: CtCalibrationMethods
Id: ct-calibration-methods
Title: "Ways of calibration"
Description: "How Hounsfield units became mg/cm3."
* ^experimental = false
* include codes from system $method

ValueSet: CtDensityScales
Id: ct-density-scales
Title: "Scales of density"
Description: "The mineral that the density is the equivalent of."
* ^experimental = false
* include codes from system $scale

ValueSet: CtVertebraExclusions
Id: ct-vertebra-exclusions
Title: "Why a vertebra or a part of it was left out"
Description: "Reasons for which a vertebra does not count, or a part of it was cut out."
* ^experimental = false
* include codes from system $exclusion

ValueSet: CtScreeningOutcomes
Id: ct-screening-outcomes
Title: "Outcome of a screening"
Description: "Reported or refused."
* ^experimental = false
* include codes from system $screening-status

ValueSet: CtScreeningRefusals
Id: ct-screening-refusals
Title: "Why a study was refused"
Description: "Every reason for a refusal."
* ^experimental = false
* include codes from system $refusal

ValueSet: CtBoneActions
Id: ct-bone-actions
Title: "What a rule can ask for"
Description: "Every action that a recommendation rule names."
* ^experimental = false
* include codes from system $action

ValueSet: CtBoneProgrammeStates
Id: ct-bone-programme-states
Title: "Where a person stands in the DXA programme"
Description: "Business status of the programme's Task."
* ^experimental = false
* include codes from system $programme

ValueSet: VertebraBodySites
Id: vertebra-body-sites
Title: "Vertebrae by SNOMED CT"
Description: "Thoracic and lumbar vertebrae as DICOM's tables code them; the neck's have no code there and go by text."
* ^experimental = false
* ^copyright = "This value set includes content from SNOMED CT, which is copyright of the International Health Terminology Standards Development Organisation (IHTSDO)."
* $SCT#64864005 "T1 vertebra"
* $SCT#53733008 "T2 vertebra"
* $SCT#1626008 "T3 vertebra"
* $SCT#73071006 "T4 vertebra"
* $SCT#56401006 "T5 vertebra"
* $SCT#45296009 "T6 vertebra"
* $SCT#62487009 "T7 vertebra"
* $SCT#11068009 "T8 vertebra"
* $SCT#82687006 "T9 vertebra"
* $SCT#7610001 "T10 vertebra"
* $SCT#12989004 "T11 vertebra"
* $SCT#23215003 "T12 vertebra"
* $SCT#66794005 "L1 vertebra"
* $SCT#14293000 "L2 vertebra"
* $SCT#36470004 "L3 vertebra"
* $SCT#11994002 "L4 vertebra"
* $SCT#49668003 "L5 vertebra"
