"""The config `kermany_covid_full`: find its gigabyte of files, list its images, read them with Beam."""
